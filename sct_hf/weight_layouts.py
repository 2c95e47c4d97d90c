"""Where a file of weights holds a backbone, and under which names: the layouts of self-supervised training."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

from torch import Tensor, nn

State = dict[str, Tensor]

_LAST = re.compile(r"student|momentum|encoder_k")
"""Copies that a method does not hand on: DINO's student, the momentum encoder of BYOL and MoCo."""
_TRAINING_ONLY = re.compile(r"decoder|mask_token$|masked_embed$")
"""Entries beside a backbone's own that only the method reads: MAE's decoder, mask tokens of MAE, DINOv2 and iBOT."""
_SHOWN = 4


def flat(checkpoint: Any) -> Any:
    """Join the dicts of tensors in a checkpoint to one, each below its own name: {"teacher": {"x": …}} → "teacher.x".

    Everything else in it (optimizer, epoch, arguments) is left. A checkpoint without such dicts is returned as it is.
    """
    if not isinstance(checkpoint, Mapping):
        return checkpoint
    parts = {name: part for name, part in checkpoint.items() if isinstance(part, Mapping) and part}
    joined = {
        f"{name}.{key}": value
        for name, part in parts.items()
        if all(isinstance(value, Tensor) for value in part.values())
        for key, value in part.items()
    }
    return joined or checkpoint


def backbone_entries(state: State, backbone: nn.Module) -> tuple[State, str]:
    """Find the entries of a backbone in a state dict, and give them timm's names.

    Each prefix is tried in each of `LAYOUTS`. What fills most entries is taken; of equals what is no student or
    momentum copy, then the shortest prefix.

    Args:
        state: All entries, in one flat dict.
        backbone: The timm model.

    Returns:
        Its entries, whole or not, with all that else lies beside them except what only training reads; `state` itself
        if it has none. And what was taken, left and converted: "" or text that starts with "; ".
    """
    expected = {name: value.shape for name, value in backbone.state_dict().items()}
    counts: dict[str, int] = {}
    for key in state:
        for prefix in ("", *_prefixes(key)):
            counts[prefix] = counts.get(prefix, 0) + 1
    most, found = 0, (state, "")
    for prefix in sorted((each for each, count in counts.items() if 2 * count >= len(expected)), key=_rank):
        inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for layout in LAYOUTS:
            made = layout(dict(inside), backbone)
            filled = sum(name in made and made[name].shape == shape for name, shape in expected.items())
            if filled > most:
                most, found = filled, _described(made, inside, state, prefix, expected)
            if filled == len(expected):
                break
    return found


def _described(
    made: State, inside: State, state: State, prefix: str, expected: Mapping[str, Any]
) -> tuple[State, str]:
    """The entries without those of training only, and what to tell of them; arguments as in `backbone_entries`."""
    unread = {name for name in {**made, **inside} if name not in expected and _TRAINING_ONLY.match(name)}
    used = {f"{prefix}{name}" for name in inside if name not in unread}
    told = [f"its entries {prefix}*"] if prefix else []
    if left := _groups([key for key in state if key not in used], used):
        told.append(f"left {_listed(left)}")
    if converted := [name for name in made if name in inside and made[name].shape != inside[name].shape]:
        told.append(f"converted by timm {_listed(converted)}")
    return {name: value for name, value in made.items() if name not in unread}, "".join(f"; {one}" for one in told)


def _groups(left: list[str], used: set[str]) -> list[str]:
    """The shortest prefixes of the keys left that no used key has: "teacher.head", "student"."""
    shared = {part for key in used for part in _prefixes(key)}
    first = (next((part for part in _prefixes(key) if part not in shared), key) for key in left)
    return list(dict.fromkeys(part.rstrip(".") for part in first))


def _prefixes(key: str) -> list[str]:
    """The prefixes of a key that end with a dot: "a.b.c" → "a.", "a.b."."""
    return list(accumulate(f"{part}." for part in key.split(".")[:-1]))


def _rank(prefix: str) -> tuple[bool, int]:
    return bool(_LAST.search(prefix)), len(prefix)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _named_alike(state: State, backbone: nn.Module) -> State:
    """Names as in timm: torchvision's ResNets, DINO, MAE, MoCo, and what LightlyTrain exports of timm's models."""
    return state


def _by_timm(state: State, backbone: nn.Module) -> State:
    """Names or sizes that timm converts for this architecture: DINOv2's, position codes of another size."""
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    try:
        return state if convert is None else convert(state, backbone)
    except Exception:  # it takes weights of any kind, and fails in as many ways: then this is not their layout
        return state


def _block_chunks(state: State, backbone: nn.Module) -> State:
    """DINOv2's blocks in chunks, "blocks.<chunk>.<block>.", as its training writes them; else as `_by_timm`."""
    return _by_timm({re.sub(r"^blocks\.\d+\.(\d+\.)", r"blocks.\1", key): state[key] for key in state}, backbone)


def _numbered(state: State, backbone: nn.Module) -> State:
    """Numbers in place of names: `nn.Sequential(*list(resnet.children())[:-1])`, as in lightly's examples."""
    names = dict(enumerate(name for name, _ in backbone.named_children()))
    parts = ((key.partition("."), value) for key, value in state.items())
    return {
        f"{names.get(int(first), first) if first.isdecimal() else first}{dot}{rest}": value
        for (first, dot, rest), value in parts
    }


LAYOUTS: tuple[Callable[[State, nn.Module], State], ...] = (_named_alike, _by_timm, _block_chunks, _numbered)
"""Functions from entries below a prefix and the timm model to entries with timm's names, as far as they know them."""
