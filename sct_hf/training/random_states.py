"""The random generators of a process, saved to and restored from plain values."""

import random
from typing import Any

import numpy as np
import torch


def random_states(device: torch.device) -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators, and of `device`'s unless it is the CPU."""
    numpy: Any = np.random.get_state(legacy=False)
    states = {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Restore the generators to the states of `random_states`.

    Raises:
        KeyError, TypeError, ValueError or RuntimeError: A state is missing, damaged or of another kind of device.
    """
    numpy = states["numpy"]
    key = np.array(numpy["state"]["key"], dtype=np.uint32)
    random.setstate(states["python"])
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    torch.set_rng_state(states["torch"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type])
