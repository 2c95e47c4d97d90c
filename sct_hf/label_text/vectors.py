"""The vectors of a set of labels, in memory and as a safetensors file."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sct_hf.errors import InputError
from sct_hf.files import atomic_write
from sct_hf.label_text.words import label_words

_FORMAT = "sct_hf.label_text/1"


@dataclass(frozen=True, eq=False)
class LabelVectors:
    """Label names with their text vectors and the recipe that made them.

    Attributes:
        names: C different label names, as the data set writes them.
        embeddings: (C, D_t) float32, row c for names[c].
        recipe: How the vectors were made, JSON-serialisable: "encoder", "template", "words" (one entry per label),
            "dim" (D_t), and further facts of the encoder ("pooling", "seed", "revision").

    Raises:
        InputError: Names repeat, a value is not finite, or names, words, vectors and "dim" disagree.
    """

    names: list[str]
    embeddings: Tensor
    recipe: dict[str, Any]

    def __post_init__(self) -> None:
        for field, texts in (("names", self.names), ("words of the recipe", self.recipe.get("words", []))):
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise InputError(f"label vectors: the {field} are no list of texts. Give a text for each label.")
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated or not self.names:
            problem = f"names that repeat: {', '.join(repeated[:5])}" if repeated else "no name"
            raise InputError(f"labels: {problem}. Give every label once.")
        missing = {"encoder", "template", "words", "dim"} - set(self.recipe)
        if missing:
            raise InputError(f"label recipe: {', '.join(sorted(missing))} is missing. Make it with encode_labels.")
        expected = (len(self.names), self.recipe["dim"])
        if tuple(self.embeddings.shape) != expected or self.embeddings.dtype != torch.float32:
            found = f"{self.embeddings.dtype} {tuple(self.embeddings.shape)}"
            raise InputError(f"label embeddings: {found}; give torch.float32 {expected} (names, dim).")
        if len(self.recipe["words"]) != len(self.names):
            raise InputError(f"label recipe: {len(self.recipe['words'])} words for {len(self.names)} names.")
        broken = [self.names[row] for row in (~self.embeddings.isfinite()).any(1).nonzero()[:5]]
        if broken:
            raise InputError(f"label embeddings: NaN or infinity for {', '.join(broken)}; give finite values.")

    def save(self, path: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write a safetensors file: the tensor "embeddings", names and recipe in its header.

        Args:
            path: The file, named .safetensors.
            dtype: torch.float16 halves the file. `load` always returns float32.

        Raises:
            InputError: The name does not end in .safetensors.
            OSError: The file cannot be written.
        """
        if Path(path).suffix != ".safetensors":
            raise InputError(f"label vectors: {str(path)!r} does not end in .safetensors.")
        header = {"format": _FORMAT, "names": json.dumps(self.names), "recipe": json.dumps(self.recipe)}
        with atomic_write(path) as temporary:
            save_file({"embeddings": self.embeddings.to(dtype).contiguous()}, temporary, metadata=header)

    @classmethod
    def load(cls, path: str | Path) -> "LabelVectors":
        """Read a file written by `save` or by sct-hf embed.

        Args:
            path: The .safetensors file.

        Raises:
            InputError: The file is absent, unreadable or of another kind, or its parts disagree.
        """
        remedy = "Make it with sct-hf embed"
        if not os.path.isfile(path):
            raise InputError(f"label_encoder: no file {str(path)!r}. {remedy}, or name another encoder.")
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                embeddings = file.get_tensor("embeddings") if "embeddings" in set(file.keys()) else None
        except SafetensorError as error:
            raise InputError(f"label_encoder: {str(path)!r} is not a safetensors file ({error}). {remedy}.") from error
        if embeddings is None or header.get("format") != _FORMAT:
            raise InputError(f"label_encoder: {str(path)!r} holds no label vectors of the form {_FORMAT}. {remedy}.")
        try:
            names, recipe = json.loads(header["names"]), json.loads(header["recipe"])
            return cls(names, embeddings.float(), recipe)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise InputError(f"label_encoder: {str(path)!r} is damaged ({error}). {remedy}.") from error

    def subset(self, names: list[str]) -> "LabelVectors":
        """The vectors of `names`, in that order. Names match by their words: "hot_dog" finds "hot dog".

        Raises:
            InputError: A name is not among these labels.
        """
        rows = {label_words(name): row for row, name in enumerate(self.names)}
        unknown = [name for name in names if label_words(name) not in rows]
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise InputError(f"labels without a vector: {', '.join(unknown[:5])}{more}.")
        index = [rows[label_words(name)] for name in names]
        words = [self.recipe["words"][row] for row in index]
        return LabelVectors(list(names), self.embeddings[index], {**self.recipe, "words": words})
