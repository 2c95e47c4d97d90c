"""A run that goes out from the weights of another."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sct_hf.errors import InputError
from sct_hf.training.arguments import Arguments
from sct_hf.training.devices import make_accelerator
from sct_hf.training.loop import train
from sct_hf.training.models import new_model

Tiny = Callable[..., Arguments]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """The folder of a run to go out from."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(tiny(output_dir=folder, epochs=1))
    return folder


def test_a_run_goes_out_from_the_weights_of_another(first: Path, tiny: Tiny) -> None:
    arguments = tiny(init_checkpoint=first, seed=1)
    model = new_model(
        arguments, ["blue", "green", "red", "white"], make_accelerator(mixed_precision="no", cpu_threads=1, seed=1)
    )
    written = load_file(first / "model.safetensors")
    assert model.state_dict().keys() == written.keys()
    assert all(torch.equal(value, written[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "linear"}, "does not fit this run: model_type is 'sct' there and 'sct_peer' here"),
        ({"encoder_ffn_dim": 8}, r"ffn_in.bias is \[16\] there and \[8\] here"),
        ({"encoder_attention_heads": 4}, "encoder_attention_heads is 2 there and 4 here"),
        ({"init_checkpoint": "no/such/folder"}, "init_checkpoint is 'no/such/folder': there is no such folder"),
    ],
)
def test_weights_that_do_not_fit(
    first: Path, tmp_path: Path, tiny: Tiny, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(tiny(**{"output_dir": tmp_path / "second", "init_checkpoint": first, **options}))


def test_the_checkpoint_to_go_out_from_is_not_written_over(first: Path, tiny: Tiny) -> None:
    for folder in (first, first.parent):
        with pytest.raises(InputError, match="it holds init_checkpoint; choose another folder"):
            tiny(output_dir=folder, init_checkpoint=first, overwrite_output_dir=True)


def test_checkpoint_with_weights_missing(first: Path, tmp_path: Path, tiny: Tiny) -> None:
    path = shutil.copytree(first, tmp_path / "first") / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "scorer" not in name}, path, {"format": "pt"})
    missing = r"init_checkpoint is .*first', which lacks \d+ of its weights \(pooled_scorer"
    with pytest.raises(InputError, match=missing):
        train(tiny(output_dir=tmp_path / "second", init_checkpoint=tmp_path / "first"))
