"""Labels given at run time: their text embeddings and prototypes, by what made those of the checkpoint."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .label_words_sct import label_words
from .text_encoder_sct import embed_texts, load_text_encoder

_TOLERANCE = 0.02

LabelTexts = Sequence[str] | Mapping[str, str | Sequence[str] | None]
"""Names of labels; or by name a text that stands for the label, or several, or None for the name itself."""


def label_texts(labels: Any) -> dict[str, tuple[str, ...]]:
    """Bring labels into one form: by name the texts that stand for it, none where the name does.

    Args:
        labels: A list of names, or a dict whose values are a text (a description), a list of texts (prompts that are
            averaged), or None.

    Raises:
        ValueError: Another form, no label, a name twice, or a text that is empty.
    """
    if isinstance(labels, Mapping) and labels and all(isinstance(name, str) for name in labels):
        texts = {name: (text,) if isinstance(text, str) else tuple(text or ()) for name, text in labels.items()}
        for name, many in texts.items():
            if not all(isinstance(text, str) and text.strip() for text in many):
                raise ValueError(f"labels: the texts of {name!r} are {labels[name]!r}: give one, a list, or None.")
        return texts
    good = isinstance(labels, list | tuple) and len(labels) > 0 and all(isinstance(name, str) for name in labels)
    if not good or len(set(labels)) < len(labels):
        raise ValueError(
            f"labels is {repr(labels)[:200]}: give a list of names, each once, or a dict with texts by name."
        )
    return {name: () for name in labels}


def encode_new_labels(
    labels: LabelTexts,
    model: Any,
    encoder: str | None = None,
    templates: Sequence[str] | None = None,
    *,
    backbone_weights: str | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Embed labels by the text encoder of a checkpoint, which is left as it is.

    A name goes through the checkpoint's template, or through each of `templates`; texts that stand for a label are
    taken as they are. The vectors of several texts are averaged, and brought back to length 1 where the encoder gives
    vectors of length 1 (as CLIP's prompts are; Radford et al., ICML 2021). The checkpoint's own labels are embedded
    along with them and compared with what it holds, so that another encoder than its own is noticed. With the package
    sct_hf every encoder of `sct_hf.encode_labels` can be used; without it, those that are text models of transformers.
    Prototypes, where the checkpoint has them, need the package.

    Args:
        labels: The C labels' names, or texts by name, see `label_texts`.
        model: An `SCTForMultiLabelClassification` with `scorer="label"`.
        encoder: Name or folder of the text encoder; the one that `config.label_text` records, if not given.
        templates: Prompts with "{}" for the words of a name.
        backbone_weights: Where the classifier behind the prototypes is, in case it is none of those to be had by the
            backbone's name; as in training.

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
    wanted = _with_templates(label_texts(labels), templates)
    recipe = config.label_text or {}
    encoder = encoder or recipe.get("encoder")
    if not encoder:
        raise ValueError("labels: the checkpoint does not say what encoded its labels. Give label_encoder.")
    own = {name: tuple(recipe.get("prompts", {}).get(name, ())) for name in config.label_names}
    every = list(dict.fromkeys([*own.items(), *wanted.items()]))  # (name, texts)
    place = {label: row for row, label in enumerate(every)}
    plain = list(dict.fromkeys(name for name, texts in every if not texts))
    further = list(dict.fromkeys(text for _, texts in every for text in texts))
    package = _package()
    vectors: dict[tuple[str, bool], Tensor] = {}  # by text, and whether it is a name
    for texts, named in ((plain, True), (further, False)):
        if texts:
            embed = package.embed_like if package else _by_transformers
            made = embed(texts, encoder, recipe, as_written=not named)
            vectors |= {(text, named): row for text, row in zip(texts, made, strict=True)}
    normalised = bool(recipe.get("normalised"))
    embeddings = torch.stack(
        [
            _mean([vectors[text, False] for text in texts], normalised) if texts else vectors[name, True]
            for name, texts in every
        ]
    )
    if not alike(embeddings[: len(own)], model.sct.label_embeddings):
        told = {key: value for key, value in recipe.items() if key not in ("words", "prompts")}
        raise ValueError(
            f"labels: label_encoder={encoder!r} does not give the embeddings that the checkpoint holds of its own "
            f"labels. Give label_encoder, the name or folder of the encoder it was trained with ({told})."
        )
    prototypes = None
    if config.label_prototypes:
        if package is None:
            raise ValueError(
                "labels: this checkpoint holds a prototype of each label, and those of new labels are made by the "
                "package sct_hf: install it, or use a checkpoint trained with label_prototypes=False."
            )
        held = model.sct.label_prototypes
        prototypes = package.prototypes_like(embeddings, held, encoder, config, backbone_weights)
    rows = [place[label] for label in wanted.items()]
    return embeddings[rows], None if prototypes is None else prototypes[rows]


def describe_new_labels(labels: LabelTexts, config: Any, templates: Sequence[str] | None = None) -> dict[str, Any]:
    """How `encode_new_labels` makes embeddings, to be kept as `config.label_text`; arguments as there."""
    texts = _with_templates(label_texts(labels), templates)
    recipe = {key: value for key, value in (config.label_text or {}).items() if key != "prompts"}
    prompts = {name: list(many) for name, many in texts.items() if many}
    return recipe | {"words": [label_words(name) for name in texts]} | ({"prompts": prompts} if prompts else {})


def seen_in_training(names: Sequence[str], config: Any) -> list[bool]:
    """Whether a label of that name, in words, was trained on."""
    trained = {label_words(name) for name in getattr(config, "seen_labels", None) or config.id2label.values()}
    return [label_words(name) in trained for name in names]


def alike(found: Tensor, held: Tensor) -> bool:
    """Whether rows are those that a checkpoint holds, but for its precision."""
    if found.shape != held.shape:
        return False
    held = held.float().cpu()
    return bool(((found - held).norm(dim=1) <= _TOLERANCE * held.norm(dim=1)).all())


def _with_templates(texts: dict[str, tuple[str, ...]], templates: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Texts by name, with prompts in place of a bare name."""
    if templates is None:
        return texts
    good = isinstance(templates, list | tuple) and templates
    if not good or not all(isinstance(text, str) and text.count("{}") == 1 for text in templates):
        raise ValueError(f"label_templates is {templates!r}: give a list of prompts, each with '{{}}' once.")
    prompts = {name: tuple(text.replace("{}", label_words(name)) for text in templates) for name in texts}
    return {name: many or prompts[name] for name, many in texts.items()}


def _mean(vectors: list[Tensor], normalised: bool) -> Tensor:
    mean = torch.stack(vectors).mean(0)  # (D_t,)
    return F.normalize(mean, dim=0) if normalised else mean


def _package() -> Any:
    """The module of sct_hf that knows further encoders, and prototypes; None where sct_hf is not installed."""
    try:
        return importlib.import_module("sct_hf.label_text.new_labels")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sct_hf":
            raise
        return None


def _by_transformers(names: list[str], encoder: str, recipe: dict[str, Any], *, as_written: bool) -> Tensor:
    """Embeddings (C, D_t) by a text model of transformers, pooled as the recipe says."""
    pooling = recipe.get("pooling", "mean")
    revision = recipe.get("revision") if encoder == recipe.get("encoder") else None
    template = recipe.get("template", "{}")
    texts = names if as_written else [template.replace("{}", label_words(name)) for name in names]
    try:
        tokenizer, text_model = load_text_encoder(encoder, revision)
    except Exception as error:
        raise ValueError(
            f"labels: label_encoder={encoder!r} cannot be loaded as a text model of transformers "
            f"({str(error).splitlines()[0]}). Give its folder or Hub name as label_encoder; other encoders need the "
            "package sct_hf."
        ) from error
    return embed_texts(texts, tokenizer, text_model, pooling, bool(recipe.get("normalised")))


__all__ = ["LabelTexts", "alike", "describe_new_labels", "encode_new_labels", "label_texts", "seen_in_training"]
