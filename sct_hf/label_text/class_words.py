"""Words for ImageNet's classes and for all that they are kinds of, from WordNet 3.0.

imagenet_words.tsv has a line for each of 1,860 synsets: its number, the numbers above it, and the words whose first
sense it is among them. WORDNET_LICENSE is WordNet's licence.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sct_hf.backbone_classifier import BackboneClassifier
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.label_text.words import label_words

TABLE = Path(__file__).with_name("imagenet_words.tsv")


@dataclass(frozen=True, eq=False)
class ClassWords:
    """Words with their text vectors, and the classes that each word covers.

    Attributes:
        vectors: Text vectors of the V words.
        covers: (V, K) bool, whether a word covers a class.
    """

    vectors: LabelVectors
    covers: Tensor


def encode_class_words(classifier: BackboneClassifier, encoder: str, *, template: str = "{}") -> ClassWords | None:
    """Embed the words for a classifier's classes and for all that they are kinds of, as `encode_labels` embeds labels.

    "dog" covers the 118 breeds among ImageNet's classes, "vehicle" 67 classes. A word with several senses has the
    commonest that covers a class.

    Returns:
        The words, or None if no class of the classifier is one of ImageNet's 1,000.

    Raises:
        InputError: The encoder cannot embed a word.
    """
    found = cover_classes(classifier)
    return None if found is None else ClassWords(encode_labels(found[0], encoder, template=template), found[1])


def cover_classes(classifier: BackboneClassifier) -> tuple[list[str], Tensor] | None:
    """The words for a classifier's classes and for all that they are kinds of, and the classes that each covers.

    Returns:
        V words, and (V, K) bool; None if no class of the classifier is one of ImageNet's 1,000.
    """
    above, words = _table()
    synset_of_class = {index: name for index, name in enumerate(classifier.synsets) if name in above}
    covered: dict[str, set[int]] = {}
    for index, name in synset_of_class.items():
        for synset in _ancestors(name):
            covered.setdefault(synset, set()).add(index)
    named = {word: covered[synset] for word, synset in words.items() if synset in covered}
    if not named:
        return None
    covers = torch.zeros(len(named), len(classifier.weight), dtype=torch.bool)
    for row, classes in enumerate(named.values()):
        covers[row, sorted(classes)] = True
    return list(named), covers


def depth_of(word: str) -> int:
    """Steps from a word of `cover_classes` up to "entity", by the shortest way: 2 for "matter", 3 for "food"."""
    above, words = _table()
    level, steps = {words[word]}, 0
    while all(above[synset] for synset in level):
        level, steps = {up for synset in level for up in above[synset]}, steps + 1
    return steps


@cache
def _table() -> tuple[dict[str, list[str]], dict[str, str]]:
    """The synsets above each synset, and the synset of each word."""
    above: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        synset, parents, its_words = line.split("\t")
        above[synset] = [parent for parent in parents.split("|") if parent]
        for word in its_words.split("|") if its_words else ():
            words.setdefault(label_words(word), synset)
    return above, words


@cache
def _ancestors(synset: str) -> frozenset[str]:
    """A synset and all above it."""
    return frozenset({synset}.union(*map(_ancestors, _table()[0][synset])))
