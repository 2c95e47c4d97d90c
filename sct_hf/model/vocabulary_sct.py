"""The labels of a model as one object, and its construction from new labels: words, text, prototypes."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from .hierarchy_sct import class_evidence, mix_classes
from .transport_sct import cosine_similarity

_COMPOUNDS = {  # written as one word in Pascal VOC
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
}
_CAMEL = re.compile(r"(?<=[a-z][a-z])(?=[A-Z])|(?<=[A-Z][A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[_/\s]+|(?<=\w\w)-(?=\w\w)")
_BATCH = 64
_TOLERANCE = 0.02
EVIDENCE_WEIGHT = 0.5  # chosen on a part held out of VOC2007 train

LabelTexts = Sequence[str] | Mapping[str, str | Sequence[str] | None]
"""Label names; or, by name, a text to embed instead, several texts, or None for the name itself."""


@dataclass(frozen=True)
class Vocabulary:
    """C labels as input of the model. A slice, `vocabulary[k]`, is a vocabulary of some of the labels.

    Attributes:
        embeddings (`Tensor` of shape (C, D_t)): Text embeddings.
        prototypes (`Tensor` of shape (C, D₀), *optional*): Prototypes in the backbone's feature space.
        centred (`Tensor` of shape (C, D_t)): Embeddings minus the mean over the labels of training, each of unit RMS.
        familiarity (`Tensor` of shape (C,), *optional*): Share of the learned score of each label, in [0, 1]; None if
            it is 1 for all.
        own (`bool`): Whether these are the checkpoint's labels, in the order of its logits.
        classes (`Tensor` of shape (C, K), *optional*): Shares in [0, 1] of the classes of `class_vectors` (K, D₀).
    """

    embeddings: Tensor
    prototypes: Tensor | None
    centred: Tensor
    familiarity: Tensor | None
    own: bool
    classes: Tensor | None
    class_vectors: Tensor | None

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, k: slice) -> "Vocabulary":
        names = ("embeddings", "prototypes", "centred", "familiarity", "classes")
        rows = {name: getattr(self, name)[k] for name in names if getattr(self, name) is not None}
        return replace(self, own=False, **rows)

    def with_evidence(self, branches: dict[str, Tensor], features: Tensor) -> dict[str, Tensor]:
        """Add half of `class_evidence` of features (B, P, D₀) to logits (B, C); it is the map of unfamiliar labels."""
        if self.classes is None or self.class_vectors is None:
            return branches
        evidence = class_evidence(features.mean(1), self.class_vectors, self.classes)  # (B, C)
        branches = {name: logits + EVIDENCE_WEIGHT * evidence for name, logits in branches.items()}
        if self.familiarity is None:
            return branches
        return branches | {"map": torch.lerp(evidence, branches["map"], self.familiarity.to(evidence.dtype))}


def make_vocabulary(
    embeddings: Tensor, prototypes: Tensor | None, trained: Tensor, config: Any, own: bool, vectors: Tensor | None
) -> Vocabulary:
    """Make the vocabulary of C checked labels, for weights trained on labels with text `trained`.

    The mean text of the labels of training is subtracted from each text, so that learning one label changes the
    others less. Let s be the cosine of a label's centred text with its nearest label of training, and t the
    `config.familiarity_threshold`. The label's familiarity is (s − t) / (1 − t), at least 0; None without prototypes.

    Args:
        embeddings: (C, D_t).
        prototypes: (C, D₀), or with class vectors shares (C, K) of these; or None.
        trained: Text (C', D_t) of the labels of training.
        config: The model's configuration.
        own: Whether these are the checkpoint's labels.
        vectors: Class vectors (K, D₀), or None.
    """

    def centred(text: Tensor) -> Tensor:
        return F.rms_norm(text - trained.mean(0), text.shape[-1:])

    mine, familiarity, threshold = centred(embeddings), None, config.familiarity_threshold
    new = not own or trained is not embeddings
    if new and config.label_prototypes and config.scorer == "label" and threshold:
        nearest = cosine_similarity(mine[None], centred(trained)[None])[0].amax(1)  # (C,)
        familiarity = ((nearest - threshold) / (1 - threshold)).clamp(0, 1)
    classes = None
    if vectors is not None and prototypes is not None:
        classes, prototypes = prototypes, mix_classes(prototypes, vectors)  # (C, K), (C, D₀)
    return Vocabulary(embeddings, prototypes, mine, familiarity, own, classes, vectors)


def check_label_text(
    count: int, embeddings: Tensor, prototypes: Tensor | None, config: Any, num_features: int
) -> None:
    """Check the shapes of the text embeddings (C, D_t) and prototypes, (C, D₀) or (C, K), of `count` labels.

    Raises:
        ValueError: Count or width differ, prototypes are missing, or the model has none.
    """
    width = config.label_embedding_size
    if tuple(embeddings.shape) != (count, width):
        raise ValueError(
            f"embeddings have shape {tuple(embeddings.shape)}, but ({count}, {width}) is needed: "
            f"{count} names, label_embedding_size={width}."
        )
    has, size = config.label_prototypes, config.class_count or num_features
    if has != (prototypes is not None) or (prototypes is not None and prototypes.shape != (count, size)):
        found = None if prototypes is None else tuple(prototypes.shape)
        needed = f"({count}, {size})" if has else "none"
        raise ValueError(
            f"prototypes have shape {found}, but {needed} is needed: label_prototypes={has}. "
            f"Make them by sct_hf.make_label_{'classes' if config.class_count else 'prototypes'} where there are any."
        )


@dataclass(frozen=True)
class LabelEncoders:
    """Encoders beyond the text models of transformers. The package sct_hf registers its own when imported.

    Attributes:
        embed: `embed(texts, encoder, recipe, as_written=bool)`, (C, D_t) float32.
        prototypes: `prototypes(embeddings, held, encoder, config, backbone_weights)`, float32 of the width of `held`.
    """

    embed: Callable[..., Tensor]
    prototypes: Callable[..., Tensor]


_registered: list[LabelEncoders] = []


def register_label_encoders(encoders: LabelEncoders) -> None:
    """Let `encode_new_labels` use further encoders and make prototypes."""
    _registered[:] = [encoders]


def label_words(name: str) -> str:
    """Write a label's name as lower-case words with single spaces between them.

    Underscores, slashes and hyphens between words become spaces ("t-shirt" keeps its hyphen). camelCase is split
    ("iPhone" is not), and so are Pascal VOC's compounds: "diningtable" → "dining table".

    Args:
        name: A label's name, such as "traffic_light", "TrafficLight" or "tvmonitor".

    Returns:
        Its words, such as "traffic light" or "tv monitor".

    Raises:
        ValueError: The name has no word.
    """
    spaced = _CAMEL.sub(" ", unicodedata.normalize("NFC", name))
    words = _SEPARATORS.sub(" ", spaced).strip().lower()
    if not any(character.isalnum() for character in words):
        raise ValueError(f"label name {name!r} has no letter or digit: give every label a name in words.")
    return " ".join(_COMPOUNDS.get(word, word) for word in words.split())


def _mean_pooling(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * weights).sum(1) / weights.sum(1)  # (B, D)


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]  # (B, D)


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]  # (B, D)


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(1)  # (B, D)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean_pooling,
    "cls": _first,
    "lasttoken": _last,
    "max": _max,
}


def load_text_encoder(name: str, revision: str | None = None) -> tuple[Any, Any]:
    """Load tokenizer and model, in float32 and evaluation mode, by folder or Hub name."""
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    return tokenizer, AutoModel.from_pretrained(name, revision=revision, dtype=torch.float32).eval()


def embed_texts(texts: list[str], tokenizer: Any, model: Any, pooling: str, normalised: bool) -> Tensor:
    """Encode texts. An encoder–decoder uses its encoder.

    Args:
        texts: N texts.
        tokenizer: From `load_text_encoder`.
        model: From `load_text_encoder`.
        pooling: One of `POOLINGS` over the last hidden state, or "projection" for `get_text_features`.
        normalised: Whether to scale each vector to length 1.

    Returns:
        (N, D) float32.
    """
    encode = model.get_encoder() if model.config.is_encoder_decoder else model
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    padding: dict[str, Any] = {"padding": True}
    if "siglip" in model.config.model_type:  # it pools at the last place, so every text is as long as in its training
        padding = {"padding": "max_length", "max_length": model.config.get_text_config().max_position_embeddings}
    rows = []
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # texts of like length need little padding
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            part = [texts[index] for index in order[start : start + _BATCH]]
            batch = tokenizer(part, truncation=True, return_tensors="pt", **padding)
            if pooling == "projection":
                rows.append(model.get_text_features(**batch).pooler_output)
            else:
                rows.append(POOLINGS[pooling](encode(**batch).last_hidden_state, batch["attention_mask"]))
    vectors = torch.cat(rows)[torch.tensor(order).argsort()].clone()  # (N, D)
    return F.normalize(vectors, dim=-1) if normalised else vectors


def label_texts(labels: Any) -> dict[str, tuple[str, ...]]:
    """Convert labels to a dict from each name to its texts, empty if the name itself is to be embedded.

    Args:
        labels: A list of names, or a dict. Its values are a text (a description), a list of texts (prompts to
            average), or None.

    Raises:
        ValueError: The form differs, there is no label, a name repeats, or a text is empty.
    """
    if isinstance(labels, Mapping) and labels and all(isinstance(name, str) for name in labels):
        given = {name: () if text is None else text for name, text in labels.items()}
        texts = {name: tuple(text) if isinstance(text, list | tuple) else (text,) for name, text in given.items()}
        for name, many in texts.items():
            if not all(isinstance(text, str) and text.strip() for text in many):
                shown = repr(labels[name])[:200]
                raise ValueError(f"labels: the texts of {name!r} are {shown}: give one, a list, or None.")
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
    """Embed labels with the text encoder of a checkpoint. The model is not changed.

    Names are put into the checkpoint's template, or into each of `templates`; texts are embedded unchanged. Vectors of
    several texts are averaged, and scaled to length 1 if the encoder's vectors have length 1 (as for CLIP's prompts;
    Radford et al., ICML 2021). The checkpoint's own labels are embedded too and compared with its embeddings, which
    detects a wrong encoder. With the package sct_hf, every encoder of `sct_hf.encode_labels` works; without it, only
    text models of transformers. Prototypes need the package.

    Args:
        labels: The C labels' names, or texts by name, see `label_texts`.
        model: An `SCTForMultiLabelClassification` with `scorer="label"`.
        encoder: Name or folder of the text encoder; by default the one recorded in `config.text_recipe`.
        templates: Prompts with "{}" for the words of a name.
        backbone_weights: Source of the classifier behind the prototypes, as in training; needed if the backbone's
            name is not enough to find it.

    Returns:
        Embeddings (C, D_t), and prototypes or None, for the model's `vocabulary`; float32.

    Raises:
        ValueError: Names or checkpoint cannot be used, or encoder, package or classifier cannot be found.
    """
    config = model.config
    if getattr(config, "scorer", None) != "label":
        raise ValueError(
            f"labels: this checkpoint (scorer={getattr(config, 'scorer', None)!r}) scores only the labels it was "
            "trained on. Leave labels out, or use a checkpoint trained with scorer='label'."
        )
    wanted = _with_templates(label_texts(labels), templates)
    recipe = config.text_recipe or {}
    encoder = encoder or recipe.get("encoder")
    if not encoder:
        raise ValueError("labels: the checkpoint does not record its text encoder: give label_encoder.")
    own = {name: tuple(recipe.get("prompts", {}).get(name, ())) for name in config.label_names}
    every = list(dict.fromkeys([*own.items(), *wanted.items()]))  # (name, texts)
    place = {label: row for row, label in enumerate(every)}
    plain = list(dict.fromkeys(name for name, texts in every if not texts))
    further = list(dict.fromkeys(text for _, texts in every for text in texts))
    package = _registered[0] if _registered else None
    vectors: dict[tuple[str, bool], Tensor] = {}  # by text, and whether it is a name
    for texts, named in ((plain, True), (further, False)):
        if texts:
            embed = package.embed if package else _by_transformers
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
            f"labels: label_encoder={encoder!r} does not reproduce the checkpoint's embeddings of its own "
            f"labels. Give label_encoder, the name or folder of the encoder it was trained with ({told})."
        )
    prototypes = None
    if config.label_prototypes:
        if package is None:
            raise ValueError(
                "labels: this checkpoint holds a prototype of each label, and those of new labels are made by the "
                "package sct_hf: install and import it, or use a checkpoint trained with label_prototypes=False."
            )
        held = model.sct.label_prototypes
        prototypes = package.prototypes(embeddings, held, encoder, config, backbone_weights)
    rows = [place[label] for label in wanted.items()]
    return embeddings[rows], None if prototypes is None else prototypes[rows]


def describe_new_labels(labels: LabelTexts, config: Any, templates: Sequence[str] | None = None) -> dict[str, Any]:
    """The recipe of `encode_new_labels` with these arguments, for `config.text_recipe`."""
    texts = _with_templates(label_texts(labels), templates)
    recipe = {key: value for key, value in (config.text_recipe or {}).items() if key != "prompts"}
    prompts = {name: list(many) for name, many in texts.items() if many}
    return recipe | {"words": [label_words(name) for name in texts]} | ({"prompts": prompts} if prompts else {})


def seen_in_training(names: Sequence[str], config: Any) -> list[bool]:
    """Whether the model was trained on a label with this name, compared in words."""
    trained = {label_words(name) for name in getattr(config, "seen_labels", None) or config.id2label.values()}
    return [label_words(name) in trained for name in names]


def alike(found: Tensor, held: Tensor) -> bool:
    """Whether rows equal those of a checkpoint, up to its precision."""
    if found.shape != held.shape:
        return False
    held = held.float().cpu()
    return bool(((found - held).norm(dim=1) <= _TOLERANCE * held.norm(dim=1)).all())


def _with_templates(texts: dict[str, tuple[str, ...]], templates: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Texts by name; a name without texts gets prompts."""
    if templates is None:
        return texts
    good = isinstance(templates, list | tuple) and templates
    if not good or not all(isinstance(text, str) and text.count("{}") == 1 for text in templates):
        raise ValueError(f"label_templates is {repr(templates)[:200]}: give a list of prompts, each with '{{}}' once.")
    prompts = {name: tuple(text.replace("{}", label_words(name)) for text in templates) for name in texts}
    return {name: many or prompts[name] for name, many in texts.items()}


def _mean(vectors: list[Tensor], normalised: bool) -> Tensor:
    mean = torch.stack(vectors).mean(0)  # (…, D_t)
    return F.normalize(mean, dim=-1) if normalised else mean


def _by_transformers(names: list[str], encoder: str, recipe: dict[str, Any], *, as_written: bool) -> Tensor:
    """Embeddings (C, D_t) of a text model of transformers, with the recipe's pooling."""
    pooling = recipe.get("pooling", "mean")
    revision = recipe.get("revision") if encoder == recipe.get("encoder") else None
    templates, normalised = recipe.get("template", "{}").split("|"), bool(recipe.get("normalised"))
    texts = [names] if as_written else [[one.replace("{}", label_words(name)) for name in names] for one in templates]
    try:
        tokenizer, text_model = load_text_encoder(encoder, revision)
    except Exception as error:
        raise ValueError(
            f"labels: label_encoder={encoder!r} cannot be loaded as a text model of transformers "
            f"({str(error).splitlines()[0]}). Give its folder or Hub name as label_encoder; other encoders need the "
            "package sct_hf, imported."
        ) from error
    return _mean([embed_texts(each, tokenizer, text_model, pooling, normalised) for each in texts], normalised)


__all__ = ["POOLINGS", "LabelEncoders", "LabelTexts", "Vocabulary", "alike", "check_label_text", "describe_new_labels"]
__all__ += ["embed_texts", "encode_new_labels", "label_texts", "label_words", "load_text_encoder", "make_vocabulary"]
__all__ += ["register_label_encoders", "seen_in_training"]
