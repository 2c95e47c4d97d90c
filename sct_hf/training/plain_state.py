"""The state of a torch object as one safetensors file, without pickle: reading it runs no code.

Tensors are the file's entries; everything else (dictionaries, lists, tuples, numbers, text) is JSON in its header.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_KEY = "state"


def save_plain(state: Any, path: Path) -> None:
    """Write a state, such as the `state_dict` of an optimizer or a schedule.

    Args:
        state: Tensors, numbers, text, booleans and None, in dictionaries (any plain keys), lists and tuples.
        path: The file to write.

    Raises:
        TypeError: The state has another type of value.
        OSError or SafetensorError: The file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encode(state, tensors))
    save_file(tensors, path, metadata={_KEY: text})


def load_plain(path: Path) -> Any:
    """Read a file of `save_plain`: equal values and types, and tensors with equal strides, on the CPU.

    Raises:
        OSError, SafetensorError, ValueError, TypeError or KeyError: The file is not one of `save_plain`.
    """
    with safe_open(path, framework="pt") as file:
        return _decode(json.loads((file.metadata() or {})[_KEY]), file)


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Convert `value` to JSON: lists and single values stay, all others become a dictionary with their kind."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_encode(one, tensors) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [_encode(one, tensors) for one in value]}
    if isinstance(value, dict):
        return {"items": [[_encode(key, tensors), _encode(one, tensors)] for key, one in value.items()]}
    if isinstance(value, Tensor):
        # Dimensions as they lie in memory: other strides after a resume could be computed with in another order.
        order = sorted(range(value.ndim), key=value.stride, reverse=True)
        name = str(len(tensors))
        tensors[name] = value.detach().permute(order).cpu().contiguous()
        return {"tensor": name, "order": order}
    raise TypeError(f"a {type(value).__name__} cannot be saved without pickle")


def _decode(value: Any, file: Any) -> Any:
    if isinstance(value, list):
        return [_decode(one, file) for one in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_decode(value["tuple"], file))
    if "items" in value:
        return {_decode(key, file): _decode(one, file) for key, one in value["items"]}
    tensor = file.get_tensor(value["tensor"])
    return tensor.permute(torch.tensor(value["order"]).argsort().tolist())
