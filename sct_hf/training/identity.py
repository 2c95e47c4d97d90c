"""Whether a run goes on with another: the arguments that decide what is learnt, and the files that they name."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from sct_hf.files import sha256_of_files
from sct_hf.training.arguments import Arguments

# What may differ between a run and its continuation: none of it decides what is learnt.
_NOT_IDENTITY = {
    *("output_dir", "overwrite_output_dir", "resume", "report_to", "log_every", "checkpoint_every"),
    *("figures", "frequency_groups"),
    *("keep_checkpoints", "cache_dir", "num_workers", "cpu_threads", "compare_head", "check_data", "allow_unlabelled"),
}
# What may be the path of a file, or of a folder with weights, whose content decides what is learnt.
_READ_FROM_FILES = (
    *("backbone_weights", "eval_file", "hierarchy", "init_checkpoint", "label_encoder", "label_gammas"),
    *("labels_file", "positive_weights", "train_file", "unseen_labels"),
)
_BEFORE_PATHS = ("shuffled:", "glove:")


def run_identity(arguments: Arguments) -> dict[str, Any]:
    """The fields that decide what is learnt, by name, with digests of the files that they name; JSON values.

    Args:
        arguments: Of a run.
    """
    values = {name: value for name, value in sorted(arguments.to_dict().items()) if name not in _NOT_IDENTITY}
    for name in _READ_FROM_FILES:
        if values[name] is not None and (content := _content(values[name])):
            values[name] = f"{values[name]}, SHA-256 {content}"
    return json.loads(json.dumps(values))


def difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Say in which fields the `run_identity` of two runs differ; nothing if one goes on with the other.

    A field that only one of them knows differs: what the other one did about it is not on record.

    Args:
        theirs: Of the run that was found.
        ours: Of the run that is asked for.
    """

    def told(values: dict[str, Any], name: str) -> str:
        return repr(values[name]) if name in values else "unknown"

    names = [name for name in sorted({*theirs, *ours}) if told(theirs, name) != told(ours, name)]
    texts = [f"{name} ({told(theirs, name)} there, {told(ours, name)} here)" for name in names[:5]]
    return ", ".join(texts) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _content(value: str) -> str:
    """Digest of the file that `value` names, or of the weights in a folder; nothing if it names neither."""
    for prefix in _BEFORE_PATHS:
        value = value.removeprefix(prefix)
    if os.path.isfile(value):  # labels in a row, which may be too long for a path, are none
        return _sha256((_state(value),))
    weights = sorted(map(str, Path(value).glob("*.safetensors"))) if os.path.isdir(value) else []
    return _sha256(tuple(map(_state, weights))) if weights else ""


def _state(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _sha256(states: tuple[tuple[str, int, int], ...]) -> str:
    """Digest of files, computed once for each state of them (path, size and time of change)."""
    return sha256_of_files([Path(path) for path, *_ in states])
