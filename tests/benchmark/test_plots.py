from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from sct_hf.benchmark import plots
from sct_hf.benchmark.contenders import CONTENDERS


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, as they are before that."""
    saved: list[Figure] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: saved.append(figure))
    return saved


def rows(images: int = 100, seeds: int = 3, spread: float = 0.002) -> list[dict[str, Any]]:
    """All contenders, close together."""
    rng = np.random.default_rng(images)
    return [
        {
            **{"contender": name, "title": contender.title, "seed": seed, "train_images": images},
            **{"mAP": 0.8 + 0.001 * place + rng.normal(0, spread), "head_gflop": 1.1**place * 10 ** (-3 + place % 3)},
        }
        for place, (name, contender) in enumerate(CONTENDERS.items())
        for seed in range(seeds)
    ]


def test_names_of_heads_cover_nothing(figures: list[Figure]) -> None:
    plots.accuracy_against_cost(rows(), Path("unused.png"), "What it is.")
    axes = figures[0].axes[0]
    notes = [child for child in axes.get_children() if isinstance(child, Annotation)]
    assert sorted(note.get_text() for note in notes) == sorted(contender.title for contender in CONTENDERS.values())
    boxes = []
    for note in notes:
        note.get_window_extent()
        boxes.append(Text.get_window_extent(note))
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    frame = axes.get_window_extent()
    corners = [corner for box in boxes for corner in (box.min, box.max)]
    assert all(frame.contains(*corner) for corner in corners)
    points = [axes.transData.transform(note.xy) for note in notes]
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_points_are_means_over_seeds(figures: list[Figure]) -> None:
    runs = rows()
    plots.accuracy_against_cost(runs, Path("unused.png"), "What it is.")
    axes = figures[0].axes[0]
    assert axes.get_xscale() == "log"
    for container, name in zip(axes.containers, CONTENDERS, strict=True):
        values = [100 * run["mAP"] for run in runs if run["contender"] == name]
        assert container.lines[0].get_ydata() == pytest.approx([np.mean(values)])
        (low, high), *_ = container.lines[2][0].get_segments()
        assert high[1] - low[1] == pytest.approx(2 * np.std(values, ddof=1))


def test_differences_from_the_linear_head_are_paired_by_seed(figures: list[Figure]) -> None:
    runs = rows(100) + rows(400)
    for run in runs:  # seeds differ by much, heads of a seed by 0.01 only
        run["mAP"] = 0.1 * run["seed"] + (0.01 if run["contender"] == "csra" else 0.0) + run["train_images"] / 1e4
    plots.accuracy_against_images(runs, Path("unused.png"), "What it is.")
    left, right = figures[0].axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["100", "400"]
    drawn = {container.get_label(): container.lines for container in right.containers}
    assert "linear, ASL" not in drawn
    np.testing.assert_allclose(drawn["CSRA"][0].get_ydata(orig=False), [1, 1], atol=1e-9)
    np.testing.assert_allclose(drawn["SCT"][0].get_ydata(orig=False), [0, 0], atol=1e-9)
    assert all(abs(high[1] - low[1]) < 1e-9 for low, high in drawn["CSRA"][2][0].get_segments())


def test_one_seed_and_no_linear_head(tmp_path: Path) -> None:
    alone = [run for run in rows(seeds=1) if run["contender"] == "sct"]
    plots.accuracy_against_images(alone, tmp_path / "sizes.png", "What it is.")
    plots.accuracy_against_cost(alone, tmp_path / "cost.png", "What it is.")
    assert (tmp_path / "sizes.png").stat().st_size > 5000
    assert (tmp_path / "cost.png").stat().st_size > 5000
