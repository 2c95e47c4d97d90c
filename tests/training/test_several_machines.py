"""Examples of accelerate's configuration are what accelerate reads, and sharded weights are refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import DistributedType
from accelerate.commands.config.config_args import load_config_from_file

from sct_hf.errors import InputError
from sct_hf.training import devices

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "accelerate"


def test_examples_are_read_by_accelerate() -> None:
    config: Any = load_config_from_file(str(EXAMPLES / "two_machines.yaml"))
    assert (config.num_machines, config.num_processes, config.machine_rank) == (2, 8, 0)
    assert config.distributed_type == DistributedType.MULTI_GPU
    assert not config.fsdp_config


def test_sharded_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "Accelerator", lambda **_: SimpleNamespace(distributed_type=DistributedType.FSDP))
    with pytest.raises(InputError, match="distributed_type FSDP, but averaging and checkpoints need whole weights"):
        devices.make_accelerator(mixed_precision="no", cpu_threads=1, seed=0)
