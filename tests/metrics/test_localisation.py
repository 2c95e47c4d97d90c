"""Where maps point: cases by hand, pixel by pixel, and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.inference.masks import enlarged
from sct_hf.metrics import localisation
from sct_hf.metrics.localisation import (
    OVERLAPS,
    THRESHOLDS,
    PairFigures,
    best_overlaps,
    energy_share,
    localisation_metrics,
    overlaps,
    pair_figures,
    pointing_hit,
    size_of,
)


def boxes_of(*boxes):
    return np.array(boxes, dtype=float)


def inside(boxes, height, width):
    """The pixels that boxes touch, one by one."""
    found = np.zeros((height, width), dtype=bool)
    for y, x in np.ndindex(height, width):
        found[y, x] = any(x < r and x + 1 > left and y < b and y + 1 > top for left, top, r, b in boxes)
    return found


def flood(high):
    """Boxes of parts connected by steps up, down, left and right."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(high), strict=True)}
    found = []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
        ys, xs = zip(*part, strict=True)
        found.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return found


def by_pixels(one, other):
    """Intersection over union of two boxes of whole pixels, by counting."""
    cells = [{(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])} for b in (one, other)]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


@st.composite
def scenes(draw):
    """A size (width, height), whole boxes in it, and a map on few levels, so that ties occur."""
    width, height = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    boxes = []
    for _ in range(draw(st.integers(1, 3))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        boxes.append((left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (width, height), boxes, rng.integers(0, 4, (height, width)) / 3


@given(scenes(), st.integers(0, 12))
@settings(deadline=None, max_examples=60)
def test_pointing_and_energy_pixel_by_pixel(scene, tolerance) -> None:
    (width, height), boxes, fine = scene
    mask, peaks = inside(boxes, height, width), np.argwhere(fine == fine.max())
    ys, xs = np.nonzero(mask)
    near = [((ys - y) ** 2 + (xs - x) ** 2).min() <= tolerance**2 for y, x in peaks]
    assert pointing_hit(fine, boxes_of(*boxes), tolerance) == pytest.approx(np.mean(near))
    if fine.any():
        assert energy_share(fine, boxes_of(*boxes)) == pytest.approx(fine[mask].sum() / fine.sum())


@given(scenes())
@settings(deadline=None, max_examples=40)
def test_best_overlaps_by_flooding(scene) -> None:
    size, boxes, weights = scene
    found = best_overlaps(weights, boxes_of(*boxes), size)
    fine = enlarged(weights, size)
    for threshold, value in list(zip(THRESHOLDS, found, strict=True))[::6]:
        slow = max(by_pixels(part, box) for part in flood(fine >= threshold) for box in boxes)
        assert value == pytest.approx(slow)


@given(scenes())
@settings(deadline=None, max_examples=60)
def test_the_box_itself_gets_everything(scene) -> None:
    size, (box, *_), _ = scene
    weights = inside([box], size[1], size[0]).astype(float)
    figures = pair_figures(weights, boxes_of(box), size)
    assert (figures.pointing, figures.energy, figures.located) == (1, 1, True)
    assert figures.overlaps == pytest.approx(1)
    whole = localisation_metrics([figures], ["cat"], ["large"], ["cat"])
    assert whole["overall"] == {"pairs": 1, "pointing": 1, "energy": 1, "MaxBoxAccV2": 1, "CorLoc": 1}


@given(scenes(), st.floats(0.001, 1000), st.floats(-1000, 1000))
@settings(deadline=None, max_examples=40)
def test_scale_and_offset_of_a_map_do_not_matter(scene, scale, offset) -> None:
    size, boxes, weights = scene
    plain, moved = (pair_figures(each, boxes_of(*boxes), size) for each in (weights, scale * weights + offset))
    assert plain.energy == pytest.approx(moved.energy, abs=1e-4)
    assert pair_figures(2 * weights, boxes_of(*boxes), size).pointing == plain.pointing


def test_pointing_by_hand() -> None:
    fine = np.zeros((40, 50))
    fine[20, 10] = 1  # 15 pixels left of the column 25
    assert pointing_hit(fine, boxes_of((25, 0, 50, 40))) == 1
    assert pointing_hit(fine, boxes_of((26, 0, 50, 40))) == 0
    assert pointing_hit(fine, boxes_of((26, 0, 50, 40), (0, 0, 3, 12))) == 1  # 8 to the column 2, 9 to the row 11
    assert pointing_hit(fine, boxes_of((22, 29, 50, 40))) == 1  # 12 across, 9 down: 15
    assert pointing_hit(fine, boxes_of((22, 30, 50, 40))) == 0  # 12 across, 10 down
    assert pointing_hit(fine, boxes_of((22, 29.9, 50, 40))) == 1  # it touches the row 29
    fine[0, 49] = 1  # a second peak
    assert pointing_hit(fine, boxes_of((0, 15, 12, 30))) == 0.5
    assert pointing_hit(fine, boxes_of((10.2, 20.2, 10.8, 20.8)), tolerance=0) == 0.5


def test_a_constant_map_is_the_whole_image() -> None:
    figures = pair_figures(np.full((3, 3), -7.0), boxes_of((0, 0, 20, 20)), (40, 20))
    chance = np.mean([x <= 19 + 15 for x in range(40)])
    assert (figures.pointing, figures.energy) == (pytest.approx(chance), pytest.approx(0.5))
    assert figures.overlaps == pytest.approx(0.5)
    assert figures.located  # exactly 0.5
    assert not pair_figures(np.zeros((3, 3)), boxes_of((0, 0, 19, 20)), (40, 20)).located


def test_any_part_may_meet_any_box() -> None:
    weights = np.zeros((10, 20))
    weights[0:2, 0:2] = 1  # the peak, and CorLoc's one box
    weights[4:8, 10:18] = 0.5
    figures = pair_figures(weights, boxes_of((10, 4, 18, 8), (0, 9, 20, 10)), (20, 10))
    assert figures.overlaps[THRESHOLDS <= 0.5] == pytest.approx(1)
    assert figures.overlaps[THRESHOLDS > 0.5] == pytest.approx(0)
    assert not figures.located


def test_a_large_image_is_measured_in_its_own_pixels() -> None:
    weights = np.zeros((6, 8))
    weights[2:4, 4:6] = 1
    box = boxes_of((400, 200, 600, 400))
    figures = pair_figures(weights, box, (800, 600))
    assert figures.pointing == 1
    assert figures.overlaps[THRESHOLDS == 0.5].item() == pytest.approx(1, abs=0.03)
    assert figures.located
    far = np.eye(1, 800, 14)  # the peak at column 14 of a map as wide as the image
    assert pair_figures(np.tile(far, (600, 1)), boxes_of((29, 0, 800, 600)), (800, 600)).pointing == 1
    assert pair_figures(np.tile(far, (600, 1)), boxes_of((30, 0, 800, 600)), (800, 600)).pointing == 0


def test_overlaps_by_hand() -> None:
    found = overlaps(boxes_of((0, 0, 2, 2), (5, 5, 6, 6)), boxes_of((1, 1, 3, 3), (0, 0, 2, 2), (2, 0, 4, 2)))
    assert found == pytest.approx(np.array([[1 / 7, 1, 0], [0, 0, 0]]))


@pytest.mark.parametrize(
    ("boxes", "name"),
    [
        ([(0, 0, 31, 33)], "small"),
        ([(0, 0, 32, 32)], "medium"),
        ([(0, 0, 95, 97)], "medium"),
        ([(0, 0, 1, 1), (4, 4, 100, 100)], "large"),
    ],
)
def test_the_largest_box_gives_the_size(boxes, name) -> None:
    assert size_of(boxes_of(*boxes)) == name


def test_means_by_hand(monkeypatch) -> None:
    monkeypatch.setattr(localisation, "THRESHOLDS", np.array([0.25, 0.5, 0.75]))
    rows = [  # pointing, energy, overlaps at the three thresholds, located
        (1.0, 0.9, [0.8, 0.4, 0.0], True),
        (0.0, 0.1, [0.2, 0.4, 0.9], False),
        (1.0, 0.5, [0.1, 0.5, 0.5], False),
        (0.5, 0.3, [0.0, 0.1, 0.2], False),
    ]
    pairs = [PairFigures(a, b, np.array(c), d) for a, b, c, d in rows]
    found = localisation_metrics(
        pairs, ["cat", "dog", "cat", "cat"], ["large", "small", "large", "small"], ["cat", "cow", "dog"]
    )
    # At 0.3, threshold 0.5 hits pairs 0, 1, 2; at 0.5, 0.75 hits 1, 2; at 0.7, 0.25 hits pair 0, the first best.
    assert found["thresholds"] == {"0.3": 0.5, "0.5": 0.75, "0.7": 0.25}
    assert OVERLAPS == (0.3, 0.5, 0.7)
    of_pairs = np.array([2, 2, 2, 0]) / 3
    assert found["overall"] == pytest.approx(
        {"pairs": 4, "pointing": 2.5 / 4, "energy": 1.8 / 4, "MaxBoxAccV2": of_pairs.mean(), "CorLoc": 0.25}
    )
    cat, dog = found["by_label"]["cat"], found["by_label"]["dog"]
    assert cat == pytest.approx(
        {"pairs": 3, "pointing": 2.5 / 3, "energy": 1.7 / 3, "MaxBoxAccV2": 4 / 9, "CorLoc": 1 / 3}
    )
    assert dog == pytest.approx({"pairs": 1, "pointing": 0, "energy": 0.1, "MaxBoxAccV2": 2 / 3, "CorLoc": 0})
    nothing = {"pointing": None, "energy": None, "MaxBoxAccV2": None, "CorLoc": None}
    assert found["by_label"]["cow"] == {"pairs": 0} | nothing
    assert found["mean_of_labels"]["pointing"] == pytest.approx((2.5 / 3 + 0) / 2)
    assert found["by_size"]["large"] == pytest.approx(
        {"pairs": 2, "pointing": 1, "energy": 0.7, "MaxBoxAccV2": 2 / 3, "CorLoc": 0.5}
    )
    assert found["by_size"]["medium"] == {"pairs": 0} | nothing


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_no_numbers(value) -> None:
    with pytest.raises(ValueError, match="weights have NaN or infinity"):
        pair_figures(np.array([[0, value], [1, 1]]), boxes_of((0, 0, 1, 1)), (2, 2))
