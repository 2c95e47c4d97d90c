"""A run that goes out from the weights of another."""

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


def test_a_run_goes_out_from_the_weights_of_another(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    arguments = tiny(init_checkpoint=tmp_path / "first", seed=1)
    model = new_model(
        arguments, ["blue", "green", "red", "white"], make_accelerator(mixed_precision="no", cpu_threads=1, seed=1)
    )
    written = load_file(tmp_path / "first" / "model.safetensors")
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
def test_weights_that_do_not_fit(tmp_path: Path, tiny: Tiny, options: dict[str, Any], message: str) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    with pytest.raises(InputError, match=message):
        train(tiny(**{"output_dir": tmp_path / "second", "init_checkpoint": tmp_path / "first", **options}))


def test_the_checkpoint_to_go_out_from_is_not_written_over(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    for folder in (tmp_path / "first", tmp_path):
        with pytest.raises(InputError, match="it holds init_checkpoint; choose another folder"):
            tiny(output_dir=folder, init_checkpoint=tmp_path / "first", overwrite_output_dir=True)


def test_checkpoint_with_weights_missing(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    path = tmp_path / "first" / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "scorer" not in name}, path, {"format": "pt"})
    missing = r"init_checkpoint is .*first', which lacks \d+ of its weights \(pooled_scorer"
    with pytest.raises(InputError, match=missing):
        train(tiny(output_dir=tmp_path / "second", init_checkpoint=tmp_path / "first"))
