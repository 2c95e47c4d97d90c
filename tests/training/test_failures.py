"""Runs that cannot go on, and what they leave."""

import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sct_hf.errors import InputError
from sct_hf.training import checkpoints, run
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.run_folder import RunFolder

Tiny = Callable[..., Arguments]


def test_loss_that_is_not_finite(tmp_path: Path, tiny: Tiny) -> None:
    arguments = tiny(output_dir=tmp_path, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(InputError, match=r"is not finite at step \d+, epoch 1 \(.*map") as caught:
        train(arguments)
    newest = checkpoints.newest_checkpoint(tmp_path)
    assert newest is not None
    assert f"the last good checkpoint is {newest}" in str(caught.value)
    for file in newest.glob("*.safetensors"):
        assert all(value.isfinite().all() for value in load_file(file).values())


def test_gradient_that_is_not_finite(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    make = run.new_model

    def with_infinite_gradient(*arguments: Any) -> Any:
        model = make(*arguments)
        next(model.scorer.parameters()).register_hook(lambda gradient: gradient * math.inf)
        return model

    monkeypatch.setattr(run, "new_model", with_infinite_gradient)
    with pytest.raises(InputError, match=r"the gradient is not finite at step 1, .* there is no checkpoint yet"):
        train(tiny(output_dir=tmp_path))


@pytest.mark.parametrize("megabytes", [1, 2])
def test_disk_that_fills_while_saving(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    """The kernel refuses to let a file grow on: 1 MB stops the weights, 2 MB the optimizer's state."""
    options = {"output_dir": tmp_path / "run", "checkpoint_every": 2}
    save, limits = run.save_checkpoint, resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_on_a_full_disk(folder: Path, state: Any, *rest: Any, **named: Any) -> None:
        if state.step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 10**6, limits[1]))
        save(folder, state, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(run, "save_checkpoint", save_on_a_full_disk)
        try:
            with pytest.raises(InputError, match=r"saving there failed .* checkpoint-00000002 is whole"):
                train(tiny(**options))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    left = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert left == ["checkpoint-00000002", "training_args.json", "training_images.txt"]
    sizes = {file.name: file.stat().st_size / 1e6 for file in (tmp_path / "run" / left[0]).iterdir()}
    assert 1 < sizes["objective.safetensors"] < 2 < sizes["optimizer.safetensors"]

    resumed = train(tiny(**options, resume=True))
    whole = train(tiny(output_dir=tmp_path / "whole"))
    assert {**resumed, "train_seconds": 0} == {**whole, "train_seconds": 0}


def test_batch_size_for_the_processes(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.Accelerator, "num_processes", 3)
    with pytest.raises(InputError, match="batch_size is 4, for 3 processes"):
        train(tiny(output_dir=tmp_path))


def test_number_format_that_the_device_does_not_know(tmp_path: Path, tiny: Tiny) -> None:
    if torch.cuda.is_available():
        pytest.skip("this device knows fp16")
    with pytest.raises(InputError, match="mixed_precision is 'fp16'"):
        train(tiny(output_dir=tmp_path, mixed_precision="fp16"))


@pytest.mark.parametrize("name", ["seed", "holdout_seed", "mask_seed"])
@pytest.mark.parametrize("value", [-1, 2**31, 2**32, 10**30])
def test_seed_that_a_generator_does_not_take(tiny: Tiny, name: str, value: int) -> None:
    with pytest.raises(InputError, match=rf"{name} is {value}: give a number in \[0, 2147483648\)"):
        tiny(**{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "backbone_learning_rate"])
@pytest.mark.parametrize("value", ["-0.001", "0", "nan", "inf"])
def test_rate_that_trains_nothing(tiny: Tiny, name: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{name} is {float(value)}: give a number > 0"):
        tiny(**{name: value})


def test_number_beyond_64_bits(tiny: Tiny) -> None:
    for name in ("batch_size", "gradient_accumulation", "checkpoint_every", "image_size"):
        with pytest.raises(InputError, match=f"{name} is .*: give a number >"):
            tiny(**{name: 10**22})


def test_largest_seed(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path, epochs=1, seed=2**31 - 1, holdout_seed=2**31 - 1, mask_seed=2**31 - 1))


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"max_train_samples": 2}])
def test_batch_of_one_image(tmp_path: Path, tiny: Tiny, options: dict[str, int]) -> None:
    """test_resnet's map is 1 × 1 at 32 pixels, one value a channel; at 64 it has four."""
    with pytest.raises(InputError, match=r"a process 1 image at a time, and batch norm cannot train on one: give a"):
        train(tiny(output_dir=tmp_path / "run", epochs=1, **options))
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    train(tiny(output_dir=tmp_path / "run", epochs=1, image_size=64, **options))


@pytest.mark.parametrize("content", [None, "", "{", "\xff"])
def test_finished_run_without_its_metrics(tmp_path: Path, tiny: Tiny, content: str | None) -> None:
    folder = RunFolder(tiny(output_dir=tmp_path))
    folder.claim()
    folder.finish()
    if content is not None:
        (tmp_path / "metrics.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"metrics\.json cannot be read: .*start again with --overwrite_output_dir"):
        train(tiny(output_dir=tmp_path, resume=True))
