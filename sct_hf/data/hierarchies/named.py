"""Hierarchies by name."""

import os
from collections.abc import Sequence
from pathlib import Path

from sct_hf.data.hierarchies.files import read_hierarchy
from sct_hf.data.hierarchies.wordnet import wordnet_hierarchy
from sct_hf.errors import InputError

PACKAGED = {path.stem: path for path in Path(__file__).parent.glob("*.csv")}
"""Files of the package by name: `voc`, the groups in which the pages of the Pascal VOC challenge list its labels
(animal, vehicle, indoor; person is a group by itself)."""

WORDNET = "wordnet"


def load_hierarchy(name: str, label_names: Sequence[str]) -> dict[str, list[str]]:
    """Find the parents of labels.

    Args:
        name: One of `PACKAGED`; `wordnet`, or `wordnet:LEXICON` such as `wordnet:oewn:2024`; or else a CSV file, see
            `read_hierarchy`.
        label_names: The labels of a data set.

    Returns:
        {name: its parents}. Parents that the data set lacks are new labels.

    Raises:
        InputError: The file does not exist, or the hierarchy has an error.
    """
    kind, _, lexicon = name.partition(":")
    if kind == WORDNET:
        return wordnet_hierarchy(label_names, lexicon or None)
    path = PACKAGED.get(name, Path(name))
    if not os.path.isfile(path):
        raise InputError(
            f"hierarchy is {name!r}, and there is no such file: give a CSV file of child,parent rows, {WORDNET}, or "
            f"{', '.join(sorted(PACKAGED))}"
        )
    return read_hierarchy(path, label_names)
