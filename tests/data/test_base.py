import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.data.assemble import labelled_images
from sct_hf.data.base import LabelledImages
from sct_hf.data.image_sources import ImageFiles
from sct_hf.data.listing import Listing, Record
from sct_hf.errors import InputError

NAMES = ["ant", "bee", "cow"]
ROWS: list[tuple[list[str], list[str]]] = [(["bee"], ["cow"]), ([], []), (["ant", "cow"], []), ([], ["ant", "bee"])]
TARGETS = [[0, 1, -1], [0, 0, 0], [1, 0, 1], [-1, -1, 0]]


@pytest.fixture
def images(make_images: Callable[..., LabelledImages]) -> LabelledImages:
    return make_images(ROWS, NAMES)


@pytest.fixture
def many(make_images: Callable[..., LabelledImages]) -> LabelledImages:
    return make_images([(["ant"], [])] * 23, NAMES)


def test_targets_are_one_zero_and_minus_one(images: LabelledImages) -> None:
    targets = images.targets()
    assert targets.dtype == np.int8
    targets[:] = 0
    targets = images.targets()
    assert targets.tolist() == TARGETS
    assert (len(images), images.label_names, images.image_ids) == (4, NAMES, ["p0", "p1", "p2", "p3"])


def test_select_keeps_the_order_asked_for(images: LabelledImages) -> None:
    chosen = images.select([2, 0])
    assert chosen.image_ids == ["p2", "p0"]
    assert chosen.targets().tolist() == [TARGETS[2], TARGETS[0]]
    assert chosen.image(0).tobytes() == images.image(2).tobytes()


def test_aligned_to_moves_the_columns(images: LabelledImages) -> None:
    aligned = images.aligned_to(["cow", "dog", "ant", "bee"])
    assert aligned.label_names == ["cow", "dog", "ant", "bee"]
    assert aligned.targets().tolist() == [[c, -1, a, b] for a, b, c in TARGETS]
    assert aligned.image_ids == images.image_ids
    assert aligned.image(2).tobytes() == images.image(2).tobytes()


def test_aligned_to_works_on_a_selection(images: LabelledImages) -> None:
    aligned = images.select([3, 2]).aligned_to(["cow", "bee", "ant"])
    assert aligned.targets().tolist() == [TARGETS[3][::-1], TARGETS[2][::-1]]


def test_aligned_to_refuses_a_label_the_model_lacks(images: LabelledImages) -> None:
    with pytest.raises(InputError, match=r"'made' has 1 labels .* does not know: bee; .* knows ant, cow"):
        images.aligned_to(["ant", "cow"])


def test_holdout_parts_the_images(many: LabelledImages) -> None:
    rest, held_out = many.holdout(0.2, seed=3)
    assert (rest.split, held_out.split) == ("train[rest]", "train[holdout]")
    assert (len(rest), len(held_out)) == (18, 5)
    assert sorted(rest.image_ids + held_out.image_ids) == sorted(many.image_ids)
    assert many.holdout(0.2, seed=3)[1].image_ids == held_out.image_ids
    assert many.holdout(0.2, seed=4)[1].image_ids != held_out.image_ids


@settings(deadline=None, max_examples=30)
@given(count=st.integers(2, 100), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**31))
def test_holdout_leaves_something_on_both_sides(count: int, fraction: float, seed: int) -> None:
    whole = without_files(np.zeros((count, 3), dtype=np.int8), NAMES)
    rest, held_out = whole.holdout(fraction, seed)
    assert len(rest) + len(held_out) == count
    assert min(len(rest), len(held_out)) >= 1
    assert abs(len(held_out) - fraction * count) <= 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_holdout_refuses_what_is_no_fraction(images: LabelledImages, fraction: float) -> None:
    with pytest.raises(InputError, match=r"holdout is .* between 0 and 1"):
        images.holdout(fraction, seed=0)


def test_holdout_of_one_image(images: LabelledImages) -> None:
    with pytest.raises(InputError, match="two are needed"):
        images.select([0]).holdout(0.5, seed=0)


def without_files(marks: np.ndarray, names: list[str]) -> LabelledImages:
    ids = [str(number) for number in range(len(marks))]
    return LabelledImages(ImageFiles(ids), marks, names, ids, "x", "train")


def rare_labels(count: int, seed: int) -> LabelledImages:
    """Images of three labels, which 8, a tenth and half of them have; one in twenty has an unknown label."""
    rng = np.random.default_rng(seed)
    marks = np.zeros((count, 3), dtype=np.int8)
    marks[7::20, 1] = -1
    marks[rng.random(count) < 0.1, 1] = 1
    marks[rng.random(count) < 0.5, 2] = 1
    marks[::50, 0] = 1
    return without_files(marks, ["rare", "some", "many"])


@pytest.mark.parametrize("seed", range(5))
def test_stratified_holdout_keeps_every_labels_share(seed: int) -> None:
    pytest.importorskip("iterstrat", reason="iterative-stratification is absent: pip install sct_hf[stratified]")
    whole = rare_labels(400, seed)
    rest, held_out = whole.holdout(0.25, seed, stratified=True)
    assert sorted(rest.image_ids + held_out.image_ids) == sorted(whole.image_ids)
    assert held_out.image_ids == sorted(held_out.image_ids, key=int)
    assert (rest.split, held_out.split) == ("train[rest]", "train[holdout]")
    assert abs(len(held_out) - 100) <= 4
    present = [(images.targets() == 1).sum(axis=0) for images in (whole, held_out)]
    assert np.abs(present[1] - present[0] / 4).max() <= 1.5
    assert present[1][0] == 2  # of 8
    assert whole.holdout(0.25, seed, stratified=True)[1].image_ids == held_out.image_ids
    assert whole.holdout(0.25, seed + 1, stratified=True)[1].image_ids != held_out.image_ids


def test_a_plain_holdout_misses_rare_labels() -> None:
    """What the stratified one is for."""
    missed = [not (rare_labels(400, 0).holdout(0.25, seed)[1].targets()[:, 0] == 1).any() for seed in range(20)]
    assert any(missed)


def test_stratified_holdout_without_its_package(many: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "iterstrat.ml_stratifiers", None)
    with pytest.raises(InputError, match=r'pip install "sct_hf\[stratified\]"'):
        many.holdout(0.2, seed=0, stratified=True)


def test_subset_is_drawn_under_the_seed(many: LabelledImages) -> None:
    subset = many.subset(7, seed=0)
    assert len(set(subset.image_ids)) == 7
    assert subset.image_ids == many.subset(7, seed=0).image_ids != many.subset(7, seed=1).image_ids
    assert [many.image_ids.index(name) for name in subset.image_ids] == sorted(
        many.image_ids.index(name) for name in subset.image_ids
    )
    assert len(many.subset(100, seed=0)) == len(many.subset(None, seed=0)) == 23
    with pytest.raises(InputError, match="max_samples is 0"):
        many.subset(0, seed=0)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(InputError, match="split 'val' of data set 'nothing' has no image"):
        labelled_images(Listing("x"), NAMES, name="nothing", split="val", skip_missing_images=True)


@pytest.mark.parametrize(("names", "message"), [(["only"], "at least two"), (["a", "b", "a"], r"\['a'\] twice")])
def test_labels_that_make_no_multi_label_data_set(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        labelled_images(Listing("x", [Record("x", "x", None, [])], is_sound=True), names, name="n", split="s")


def test_with_labels_keeps_those_columns_alone(images: LabelledImages) -> None:
    kept = images.with_labels(["cow", "ant"])
    assert kept.label_names == ["cow", "ant"]
    assert kept.targets().tolist() == [[c, a] for a, _, c in TARGETS]
    assert kept.image_ids == images.image_ids
    assert kept.image(2).tobytes() == images.image(2).tobytes()
    assert images.with_labels(NAMES) is images
    with pytest.raises(InputError, match=r"labels has 'elk', which is no label of data set 'made': .* ant, bee, cow"):
        images.with_labels(["elk", "ant"])
