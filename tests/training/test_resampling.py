import math
from collections import Counter

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from sct_hf.training.resampling import WeightedSampler, class_aware_weights, repeat_factors


def test_repeat_factors_by_hand() -> None:
    """Of 8 images 4 have the first label, 2 the second, 1 the third, none the last; t = 1/2."""
    targets = np.zeros((8, 4))
    targets[:4, 0] = targets[3:5, 1] = targets[4, 2] = 1
    targets[5, 3], targets[6, 2] = -1, np.nan  # unknown is not present
    root = math.sqrt
    expected = [1, 1, 1, root(0.5 / 0.25), root(0.5 / 0.125), 1, 1, 1]
    assert repeat_factors(targets, 0.5) == pytest.approx(expected)
    assert repeat_factors(targets, 0.001).tolist() == [1] * 8


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 1000), st.floats(1e-4, 1))
def test_repeat_factors_as_the_paper_writes_them(count: int, labels: int, seed: int, threshold: float) -> None:
    targets = (np.random.default_rng(seed).random((count, labels)) < 0.2).astype(int)
    for row, factor in enumerate(repeat_factors(targets, threshold)):
        shares = [targets[:, label].sum() / count for label in range(labels) if targets[row, label]]
        assert factor == pytest.approx(max([1.0, *(max(1, math.sqrt(threshold / share)) for share in shares)]))


def test_class_aware_weights_are_those_of_a_simulated_draw() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((30, 5)) < [0.5, 0.3, 0.2, 0.1, 0]).astype(int)
    targets[:2] = 0
    owners = [np.flatnonzero(column) for column in targets.T if column.any()]
    drawn = np.zeros(30)
    for _ in range(60_000):
        drawn[rng.choice(owners[rng.integers(len(owners))])] += 1
    weights = class_aware_weights(targets)
    assert weights.sum() == pytest.approx(30)
    assert (weights[:2] == 0).all()
    np.testing.assert_allclose(weights, drawn / 2000, atol=0.12)
    assert class_aware_weights(np.zeros((3, 2))).tolist() == [1, 1, 1]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=60), st.integers(0, 2**32))
def test_an_epoch_has_its_length_and_rounds_what_is_due(weights: list[float], seed: int) -> None:
    values = np.array(weights)
    due = values / values.mean()
    pairs = list(WeightedSampler(values, seed))
    assert len(pairs) == len(WeightedSampler(values, seed)) == len(values)
    times = Counter(image for image, _ in pairs)
    for image in range(len(values)):
        assert math.floor(due[image] - 1e-9) <= times[image] <= math.ceil(due[image] + 1e-9)
        repeats = sorted(repeat for other, repeat in pairs if other == image)
        assert repeats == list(range(times[image]))


def test_images_appear_as_often_as_is_due_and_anew_every_epoch() -> None:
    weights = np.array([0, 0.3, 0.5, 1, 1.2, 3])
    sampler, times, orders = WeightedSampler(weights, 7), np.zeros(6), set()
    for epoch in range(3000):
        sampler.set_epoch(epoch)
        images = [image for image, _ in sampler]
        orders.add(tuple(images))
        times += np.bincount(images, minlength=6)
    np.testing.assert_allclose(times / 3000, weights, atol=0.04)
    assert len(orders) == 120 + 120 + 60  # of 3, 4, 5, 5, 5 with 1, with 2 and with 4: every order comes up


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    weights = np.random.default_rng(0).random(50)

    def order(seed: int, epoch: int) -> list[tuple[int, int]]:
        sampler = WeightedSampler(weights, seed)
        sampler.set_epoch(epoch)
        np.random.default_rng().random(3)
        torch.rand(3)
        return list(sampler)

    assert order(1, 4) == order(1, 4)
    assert order(1, 4) != order(1, 5)
    assert order(1, 4) != order(2, 4)


class Pairs(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 23

    def __getitem__(self, key: tuple[int, int]) -> torch.Tensor:
        return torch.tensor(key)


def test_processes_share_one_order_and_skip_into_it() -> None:
    """Two processes' loaders, as accelerate makes them, side by side give every batch whole, in every epoch."""
    weights = np.random.default_rng(0).random(23)
    accelerator = Accelerator(cpu=True)

    def loader(processes: int, rank: int) -> DataLoader[torch.Tensor]:
        plain = DataLoader(Pairs(), batch_size=4, sampler=WeightedSampler(weights, 3), drop_last=True)
        return prepare_data_loader(
            plain, num_processes=processes, process_index=rank, split_batches=True, use_seedable_sampler=True
        )

    whole, halves = loader(1, 0), [loader(2, rank) for rank in (0, 1)]
    epochs = []
    for epoch in range(3):
        for one in (whole, *halves):
            one.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = [batch.tolist() for batch in whole]
        shares = zip(*halves, strict=True)
        assert [[*first.tolist(), *second.tolist()] for first, second in shares] == batches
        expected = WeightedSampler(weights, 3)
        expected.set_epoch(epoch)
        assert [pair for batch in batches for pair in batch] == [list(pair) for pair in expected][:20]
        epochs.append(batches)
    assert epochs[0] != epochs[1] != epochs[2]

    for one, share in ((loader(1, 0), slice(4)), (loader(2, 1), slice(2, 4))):  # a run resumed in its third epoch
        one.set_epoch(2)  # type: ignore[attr-defined]
        rest = [batch.tolist() for batch in accelerator.skip_first_batches(one, 3)]
        assert rest == [batch[share] for batch in epochs[2][3:]]
