"""Labels given at run time: their text embeddings and prototypes, by what made those of the checkpoint."""

import importlib
from typing import Any

from torch import Tensor

from .label_words_sct import label_words
from .text_encoder_sct import embed_texts, load_text_encoder

_TOLERANCE = 0.02


def encode_new_labels(names: list[str], model: Any, encoder: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Embed labels by the text encoder of a checkpoint, which is left as it is.

    The checkpoint's own labels are embedded along with them and compared with what it holds, so that another encoder
    than its own is noticed. With the package sct_hf every encoder of `sct_hf.encode_labels` can be used; without it,
    those that are text models of transformers. Prototypes, where the checkpoint has them, need the package.

    Args:
        names: The C labels' names.
        model: An `SCTForMultiLabelClassification` with `scorer="label"`.
        encoder: Name or folder of the text encoder; the one that `config.label_text` records, if not given.

    Returns:
        Embeddings (C, D_t), and prototypes (C, D₀) or none, for the model's `forward`; float32.

    Raises:
        ValueError: The names or the checkpoint do not suit, or encoder, package or classifier are not to be had.
    """
    config = model.config
    if getattr(config, "scorer", None) != "label":
        raise ValueError(
            f"labels: this checkpoint (scorer={getattr(config, 'scorer', None)!r}) scores only the labels it was "
            "trained on. Leave labels out, or use a checkpoint trained with scorer='label'."
        )
    check_names(names)
    recipe = config.label_text or {}
    encoder = encoder or recipe.get("encoder")
    if not encoder:
        raise ValueError("labels: the checkpoint does not say what encoded its labels. Give label_encoder.")
    own = model.config.label_names
    every = list(dict.fromkeys([*own, *names]))
    package = _package()
    held, prototypes = model.sct.label_embeddings, None
    if package is not None:
        label_text = package.embed_like(every, encoder, recipe)
        embeddings = label_text.embeddings
    else:
        embeddings = _by_transformers(every, encoder, recipe)
    if not alike(embeddings[: len(own)], held):
        raise ValueError(
            f"labels: label_encoder={encoder!r} does not give the embeddings that the checkpoint holds of its own "
            f"labels. Give label_encoder, the name or folder of the encoder it was trained with ({recipe})."
        )
    if config.label_prototypes:
        if package is None:
            raise ValueError(
                "labels: this checkpoint holds a prototype of each label, and those of new labels are made by the "
                "package sct_hf: install it, or use a checkpoint trained with label_prototypes=False."
            )
        prototypes = package.prototypes_like(label_text, model.sct.label_prototypes, encoder, config)
    rows = [every.index(name) for name in names]
    return embeddings[rows], None if prototypes is None else prototypes[rows]


def check_names(names: Any) -> None:
    """Raise `ValueError` unless `names` is a list of different names."""
    good = isinstance(names, list | tuple) and len(names) > 0 and all(isinstance(name, str) for name in names)
    if not good or len(set(names)) < len(names):
        raise ValueError(f"labels is {names!r}: give a list of names, each once.")


def alike(found: Tensor, held: Tensor) -> bool:
    """Whether rows are those that a checkpoint holds, but for its precision."""
    if found.shape != held.shape:
        return False
    held = held.float().cpu()
    return bool(((found - held).norm(dim=1) <= _TOLERANCE * held.norm(dim=1)).all())


def _package() -> Any:
    """The module of sct_hf that knows further encoders, and prototypes; None where sct_hf is not installed."""
    try:
        return importlib.import_module("sct_hf.label_text.new_labels")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sct_hf":
            raise
        return None


def _by_transformers(names: list[str], encoder: str, recipe: dict[str, Any]) -> Tensor:
    """Embeddings (C, D_t) by a text model of transformers, pooled as the recipe says."""
    pooling = recipe.get("pooling", "mean")
    revision = recipe.get("revision") if encoder == recipe.get("encoder") else None
    texts = [recipe.get("template", "{}").replace("{}", label_words(name)) for name in names]
    try:
        tokenizer, text_model = load_text_encoder(encoder, revision)
    except Exception as error:
        raise ValueError(
            f"labels: label_encoder={encoder!r} cannot be loaded as a text model of transformers "
            f"({str(error).splitlines()[0]}). Give its folder or Hub name as label_encoder; other encoders need the "
            "package sct_hf."
        ) from error
    return embed_texts(texts, tokenizer, text_model, pooling, bool(recipe.get("normalised")))


__all__ = ["alike", "check_names", "encode_new_labels"]
