"""Figures of how far int8 files are from the model, against cases worked by hand."""

import numpy as np
import pytest
from scipy.special import expit

from sct_hf.export.agreement import agreement

IMAGES = [np.full((1, 3, 2, 2), value, dtype=np.float32) for value in (1, 2)]
NAMES = ("logits", "scores", "transport_plan")


def model(pixels: np.ndarray) -> list[np.ndarray]:
    value = pixels.mean()
    return outputs(np.array([[value, -value]]), np.full((1, 2, 1, 1), value / 4))


def outputs(logits: np.ndarray, plan: np.ndarray) -> list[np.ndarray]:
    return [logits, expit(logits), plan]


def test_figures() -> None:
    def shifted(pixels: np.ndarray) -> list[np.ndarray]:
        """Right for the first image; for the second, label 1 becomes a tag and one entry of the plan moves."""
        logits, _, plan = model(pixels)
        if pixels.mean() == 2:
            logits, plan = logits + np.array([[0, 4]]), plan + np.array([0, 0.25]).reshape(plan.shape)
        return outputs(logits, plan)

    found = agreement({"same": model, "shifted": shifted}, model, iter(IMAGES), NAMES, [0.5, 0.5])
    nothing = dict.fromkeys(NAMES, 0)
    assert found["same"] == {"images": 2, "same_tags": 1, "max_difference": nothing, "mean_difference": nothing}
    assert found["shifted"]["same_tags"] == 0.5
    moved = expit(2) - expit(-2)  # of one score of four
    assert found["shifted"]["max_difference"] == {"logits": 4, "scores": pytest.approx(moved), "transport_plan": 0.25}
    expected = {"logits": 1, "scores": pytest.approx(moved / 4), "transport_plan": pytest.approx(0.0625)}
    assert found["shifted"]["mean_difference"] == expected


def test_tags_are_judged_by_each_labels_threshold() -> None:
    """Scores of 0.73 and 0.27, and of 0.88 and 0.12; moved to 0.5 and 0.5."""
    middle = lambda pixels: outputs(np.zeros((1, 2)), model(pixels)[2])  # noqa: E731
    assert agreement({"a": middle}, model, IMAGES, NAMES, [0.4, 0.6])["a"]["same_tags"] == 1
    assert agreement({"a": middle}, model, IMAGES, NAMES, [0.4, 0.4])["a"]["same_tags"] == 0


@pytest.mark.parametrize(
    "broken", [np.array([[np.nan, 0]]), np.array([[np.inf, 0]]), np.zeros((1, 3)), np.zeros((2, 2))]
)
def test_what_cannot_be_compared_is_infinitely_far(broken: np.ndarray) -> None:
    scores = lambda pixels: model(pixels)[1:2]  # noqa: E731
    found = agreement({"a": lambda pixels: [broken]}, scores, IMAGES, NAMES[1:2], [0.5, 0.5])
    assert found["a"]["max_difference"] == {"scores": np.inf}
