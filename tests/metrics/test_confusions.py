import numpy as np
import pytest

from sct_hf.metrics.confusions import confusions


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_loop_over_images(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, targets = generator.random((40, 5)), generator.integers(-1, 2, (40, 5))
    thresholds = generator.random(5)
    wrong, there, missed = np.zeros(5), np.zeros((5, 5)), np.zeros((5, 5))
    for row, truth in zip(scores, targets, strict=True):
        for label in range(5):
            if row[label] >= thresholds[label] and truth[label] == 0:
                wrong[label] += 1
                for other in range(5):
                    there[label, other] += truth[other] == 1
                    missed[label, other] += truth[other] == 1 and row[other] < thresholds[other]
    found = confusions(scores, targets, thresholds)
    assert found.wrong.tolist() == wrong.tolist()
    assert found.there.tolist() == there.tolist()
    assert found.missed.tolist() == missed.tolist()


def test_a_cat_in_place_of_a_dog() -> None:
    found = confusions([[0.9, 0.1], [0.9, 0.8]], [[0, 1], [0, 1]])
    assert found.wrong.tolist() == [2, 0]
    assert found.there.tolist() == [[0, 2], [0, 0]]
    assert found.missed.tolist() == [[0, 1], [0, 0]]
