"""Losses are summed as they come, the first bad one is named, and no step reads a value off the device."""

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from sct_hf.errors import InputError
from sct_hf.training import one_head, run
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.step_losses import IMAGES, NotFiniteError, StepLosses


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_sums_weigh_by_images_and_do_not_depend_on_when_they_are_read() -> None:
    rows = [(1, 4, 0.25, 1.5), (1, 4, 0.5, 1.25), (2, 3, 2.0, 0.125)]
    for reads in ({2}, {0, 1, 2}, {1, 2}):
        losses = StepLosses()
        for number, (step, images, total, part) in enumerate(rows):
            norm = None if number == 0 else torch.tensor(1.0)
            losses.add(step, images, scalars(total=total, part=part), norm)
            if number in reads:
                assert losses.read() == {"total": total, "part": part}
        assert losses.sums == {
            "total": 4 * 0.25 + 4 * 0.5 + 3 * 2.0,
            "part": 4 * 1.5 + 4 * 1.25 + 3 * 0.125,
            IMAGES: 11,
        }
    assert losses.read() == {}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_that_is_not_finite_is_named(bad: float) -> None:
    losses = StepLosses()
    losses.add(1, 4, scalars(total=1.0), torch.tensor(1.0))
    losses.add(2, 4, scalars(total=2.0), torch.tensor(bad))
    losses.add(3, 4, scalars(total=bad), torch.tensor(bad))
    with pytest.raises(NotFiniteError) as caught:
        losses.read()
    assert (caught.value.what, caught.value.step, caught.value.losses) == ("gradient", 2, {"total": 2.0})
    losses.add(4, 4, scalars(total=bad), None)
    with pytest.raises(NotFiniteError) as caught:
        losses.read()
    assert (caught.value.what, caught.value.step) == ("loss", 4)


def test_no_batch_keeps_its_graph() -> None:
    """Activations are freed with their step, not when its losses are read."""
    activation = torch.ones(3, requires_grad=True) * 2
    alive, losses = weakref.ref(activation), StepLosses()
    losses.add(1, 1, {"total": activation.square().sum()}, None)
    del activation
    assert alive() is None
    assert losses.read() == {"total": 12.0}


class NoReading(TorchDispatchMode):
    """Refuse what makes the host wait for a device: to read a number, as `.item()`, `bool()` and `.tolist()` do."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    ("head", "unknown_labels"),
    [("sct", "ignore"), ("sct", "negative"), ("sct", "recover"), ("sct", "blend"), ("linear", "ignore")],
)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_reads_nothing_off_the_device(
    tmp_path: Path,
    tiny: Callable[..., Arguments],
    monkeypatch: pytest.MonkeyPatch,
    head: str,
    unknown_labels: str,
    accumulation: int,
) -> None:
    """Checks of values are for the CPU alone, and so is what torch's own AdamW reads on it: both may."""
    step, steps = run.Run._step, []

    def watched(self: run.Run, *arguments: Any) -> None:
        optimizer_step = self.optimizer.step

        def step_unwatched() -> None:
            with _disable_current_modes():
                optimizer_step()

        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            patch.setattr(self.optimizer, "step", step_unwatched)
            with NoReading():
                step(self, *arguments)
        steps.append(self.state.step)

    monkeypatch.setattr(run.Run, "_step", watched)
    monkeypatch.setattr(one_head, "report_run", lambda _: {})
    options = {"known_proportion": 0.5, "unknown_labels": unknown_labels, "gradient_accumulation": accumulation}
    train(tiny(output_dir=tmp_path, epochs=1, holdout=0, head=head, **options))
    assert len(steps) == 7  # batches of 4 of 30 images, the last two left out


def test_a_read_in_a_step_is_noticed() -> None:
    with NoReading(), pytest.raises(AssertionError, match="waits for the device"):
        torch.ones(()).item()


def test_a_loss_that_is_not_finite_between_two_logs_stops_the_run(
    tmp_path: Path, tiny: Callable[..., Arguments], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third step's loss is not a number; the run stops at the fourth's log, and names the third."""
    add = StepLosses.add

    def add_one_bad(self: StepLosses, step: int, images: int, losses: Any, norm: Any) -> None:
        bad = {name: value * math.nan for name, value in losses.items()} if step == 3 else losses
        add(self, step, images, bad, norm)

    monkeypatch.setattr(StepLosses, "add", add_one_bad)
    with pytest.raises(InputError, match=r"the loss is not finite at step 3, epoch 1 .* no checkpoint yet"):
        train(tiny(output_dir=tmp_path, log_every=2, checkpoint_every=4))
