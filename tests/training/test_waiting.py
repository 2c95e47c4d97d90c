from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sct_hf.data import ImageDataset, load_data, train_transform
from sct_hf.training import waiting
from sct_hf.training.arguments import Arguments
from sct_hf.training.devices import make_accelerator
from sct_hf.training.loaders import make_loader
from sct_hf.training.waiting import TimedLoader


class Clock:
    """A clock that only work moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(waiting.time, "perf_counter", lambda: self.now)


class Slow(Dataset[torch.Tensor]):
    """Four items of 2 s each."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        self.clock.now += 2
        return torch.tensor(index)


def test_waiting_is_the_time_inside_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    timed = TimedLoader(DataLoader(Slow(clock), batch_size=2))
    seen = []
    for batch in timed:
        seen += batch.tolist()
        clock.now += 10  # a step
        if len(seen) == 2:
            assert timed.take_seconds() == 4
    assert seen == [0, 1, 2, 3]
    assert timed.take_seconds() == 4
    assert timed.take_seconds() == 0
    assert clock.now == 100 + 4 * 2 + 2 * 10


def test_the_end_of_a_loader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def loader() -> Iterator[int]:
        clock.now += 1
        yield 0
        clock.now += 3

    timed = TimedLoader(loader())
    assert list(timed) == [0]
    assert timed.take_seconds() == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_running_workers_follow_the_epoch(table: Path, tiny: Callable[..., Arguments], workers: int) -> None:
    data = tiny(num_workers=workers).data
    images = load_data("jsonl", "train", data_dir=table).subset(6, seed=0)
    dataset = ImageDataset(images, train_transform(16, [0.5] * 3, [0.5] * 3), seed=3)
    accelerator = make_accelerator(mixed_precision="no", cpu_threads=1, seed=0)
    loader = make_loader(dataset, data, 2, accelerator, shuffle=True)
    orders = []
    for epoch in range(3):
        loader.set_epoch(epoch)  # type: ignore[attr-defined]
        dataset.set_epoch(epoch)
        orders.append([])
        for batch in loader:
            orders[-1] += batch["index"].tolist()
            for index, pixels in zip(batch["index"], batch["pixel_values"], strict=True):
                assert torch.equal(pixels, dataset[int(index)]["pixel_values"])
    assert [sorted(order) for order in orders] == [list(range(6))] * 3
    assert orders[0] != orders[1]
