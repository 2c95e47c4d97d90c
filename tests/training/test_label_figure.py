from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sct_hf.data.summary import Summary
from sct_hf.training.label_figure import LABELS_SHOWN, label_figure


def summary(labels: int, *, unknown: bool = False, seed: int = 0) -> Summary:
    shown = np.random.default_rng(seed).random((50, labels)) < np.linspace(0.05, 0.9, labels)
    together = shown.T.astype(int) @ shown.astype(int)
    return Summary(
        **{"name": f"made {seed}", "label_names": [f"label {n}" for n in range(labels)], "images": 50},
        **{"positives": shown.sum(axis=0), "unknown": np.full(labels, 3 * unknown), "together": together},
        **{"per_image": np.bincount(shown.sum(axis=1)), "paired": np.arange(labels), "skipped": 0},
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_counts_and_shares_are_drawn_by_falling_frequency(tmp_path: Path, drawn: list[Figure]) -> None:
    one, other = summary(5, unknown=True), summary(5, seed=1)
    label_figure([one, other], tmp_path / "labels.png")
    bars, cells = drawn[0].axes[:2]
    order = np.argsort(-one.positives, kind="stable")
    names = [one.label_names[column] for column in order]
    assert [text.get_text() for text in bars.get_yticklabels()] == names
    widths = {container.get_label(): [bar.get_width() for bar in container] for container in bars.containers}
    assert widths["made 0"] == one.positives[order].tolist()
    assert widths["made 1"] == other.positives[order].tolist()
    shares = np.asarray(cells.images[0].get_array().filled(np.nan))
    wanted = one.together[np.ix_(order, order)] / one.positives[order][:, None]
    off_diagonal = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(shares[off_diagonal], wanted[off_diagonal])
    assert np.isnan(np.diag(shares)).all()
    assert Image.open(tmp_path / "labels.png").format == "PNG"


@pytest.mark.parametrize("labels", [2, LABELS_SHOWN + 20])
def test_few_labels_and_many(tmp_path: Path, drawn: list[Figure], labels: int) -> None:
    label_figure([summary(labels)], tmp_path / "labels.png")
    assert len(drawn[0].axes[0].get_yticks()) == min(labels, LABELS_SHOWN)


def test_labels_that_are_never_together(tmp_path: Path) -> None:
    counts = np.array([2, 0])
    alone = Summary("x", ["a", "b"], 2, counts, np.zeros(2), np.array([0, 2]), np.arange(2), np.diag(counts), 0)
    label_figure([alone], tmp_path / "labels.png")
    assert (tmp_path / "labels.png").exists()


def test_labels_with_a_sign_of_dollars(tmp_path: Path, drawn: list[Figure]) -> None:
    one = replace(summary(3), label_names=["$1_000_$2_000", "$", "dog"])
    label_figure([one], tmp_path / "labels.png")
    shown = {text.get_text() for text in drawn[0].axes[0].get_yticklabels()}
    assert shown == {"$1_000_$2_000", "$", "dog"}
