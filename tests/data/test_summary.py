from collections.abc import Callable

import numpy as np
import pytest

from sct_hf.data.base import LabelledImages
from sct_hf.data.summary import format_summary, summarise

NAMES = ["ant", "bee", "cow"]
ROWS = [(["bee", "cow"], []), (["bee"], ["ant"]), ([], ["ant", "cow"]), (["ant", "bee", "cow"], [])]


@pytest.fixture
def images(make_images: Callable[..., LabelledImages]) -> LabelledImages:
    return make_images(ROWS, NAMES)


def test_counts_by_hand(images: LabelledImages) -> None:
    summary = summarise(images)
    assert (summary.name, summary.images, summary.label_names) == ("made train", 4, NAMES)
    assert summary.positives.tolist() == [1, 3, 2]
    assert summary.unknown.tolist() == [2, 0, 1]
    assert summary.per_image.tolist() == [1, 1, 1, 1]
    assert summary.together.tolist() == [[1, 1, 1], [1, 3, 2], [1, 2, 2]]
    assert summary.pairs() == [("bee", "cow", 2), ("ant", "bee", 1), ("ant", "cow", 1)]


def test_counts_of_a_random_set_agree_with_loops(make_images: Callable[..., LabelledImages]) -> None:
    rng = np.random.default_rng(1)
    rows = [([name for name in NAMES if rng.random() < 0.5], []) for _ in range(15)]
    summary = summarise(make_images(rows, NAMES))
    for row, one in enumerate(NAMES):
        for column, other in enumerate(NAMES):
            assert summary.together[row, column] == sum(one in labels and other in labels for labels, _ in rows)
    assert (np.diag(summary.together) == summary.positives).all()
    assert summary.per_image.sum() == 15


def test_the_text(images: LabelledImages) -> None:
    lines = format_summary(summarise(images), ["one was left out"]).splitlines()
    assert lines == [
        "made train: 4 images, 3 labels, 1.50 an image (1 with 0, 1 with 1, 1 with 2, 1 with 3)",
        "note: one was left out",
        "  bee       3   75.0 %       0 unknown",
        "  cow       2   50.0 %       1 unknown",
        "  ant       1   25.0 %       2 unknown",
        "  most often together: bee + cow 2, ant + bee 1, ant + cow 1",
    ]


def test_pairs_of_many_labels_are_those_of_the_most_frequent(make_images: Callable[..., LabelledImages]) -> None:
    names = [f"label {number}" for number in range(1200)]
    rows = [(["label 1199", "label 7", "label 1100"], []), (["label 1199", "label 7"], []), (["label 1199"], [])]
    summary = summarise(make_images(rows, names))
    assert summary.together.shape == (1000, 1000)
    assert {7, 1100, 1199} <= set(summary.paired.tolist())
    assert summary.pairs()[0] == ("label 7", "label 1199", 2)
    assert (np.diag(summary.together) == summary.positives[summary.paired]).all()
    assert "of the 1000 most frequent labels: label 7 + label 1199 2" in format_summary(summary)


def test_of_many_labels_the_most_frequent_and_the_rarest_are_printed(
    make_images: Callable[..., LabelledImages],
) -> None:
    names = [f"label {number}" for number in range(130)]  # each is in as many images as its number
    rows = [(names[row + 1 :], []) for row in range(129)]
    lines = format_summary(summarise(make_images(rows, names))).splitlines()
    printed = [line.split("  ")[1] for line in lines[1:-2]]
    assert printed == [*names[:-21:-1], "… 89 more labels …", *names[20:0:-1]]
    assert lines[-2] == "  labels that no image shows: 1, label 0"


def test_many_labels_of_which_few_are_shown(make_images: Callable[..., LabelledImages]) -> None:
    names = [f"label {number}" for number in range(130)]
    lines = format_summary(summarise(make_images([(names[:2], []), (names[:1], [])], names))).splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["label", "0", "2", "100.0", "%"],
        ["label", "1", "1", "50.0", "%"],
    ]
    assert lines[3].startswith("  labels that no image shows: 128, label 2, label 3, ")
    assert lines[3].endswith("label 11 and 118 more")
