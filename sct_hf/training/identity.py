"""The identity of a run: the arguments that decide what is learnt, and the files that they name."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from sct_hf.files import sha256_of_files
from sct_hf.options import options_of
from sct_hf.training.arguments import Arguments


def run_identity(arguments: Arguments) -> dict[str, Any]:
    """The fields that decide what is learnt, by name, with digests of the files that they name, as JSON values.

    Args:
        arguments: The arguments of a run.
    """
    values = {}
    for part in arguments.parts():
        for name, (_, facts) in options_of(part).items():
            if facts.identity:
                values[name] = value = getattr(part, name)
                if facts.file and value is not None and (content := _content(value)):
                    values[name] = f"{value}, SHA-256 {content}"
    return json.loads(json.dumps(dict(sorted(values.items()))))


def difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Name the fields in which the `run_identity` of two runs differs; "" if one continues the other.

    A field that only one of them has differs, since the other run's behaviour is not recorded.

    Args:
        theirs: Identity of the run in the folder.
        ours: Identity of the requested run.
    """

    def told(values: dict[str, Any], path: tuple[str, ...]) -> str:
        value: Any = values
        for key in path:
            if key not in value:
                return "unknown" if value is values else "not set"
            value = value[key]
        return repr(value)

    def paths(values: dict[str, Any]) -> set[tuple[str, ...]]:
        """Names of fields, and of entries inside a field."""
        of_entries = {(name, key) for name, value in values.items() if isinstance(value, dict) for key in value}
        return of_entries | {(name,) for name, value in values.items() if not isinstance(value, dict)}

    names = [path for path in sorted(paths(theirs) | paths(ours)) if told(theirs, path) != told(ours, path)]
    texts = [f"{' '.join(path)} ({told(theirs, path)} there, {told(ours, path)} here)" for path in names[:5]]
    return ", ".join(texts) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _content(value: str) -> str:
    """Digest of the file that `value` names, or of the weights in a folder; None if it names neither."""
    words = value.split(":")
    for path in (":".join(words[place:]) for place in range(len(words))):  # glove:PATH, shuffled:glove:PATH
        if os.path.isfile(path):  # labels in a row, which may be too long for a path, are none
            return _sha256((_state(path),))
        if os.path.isdir(path) and (weights := sorted(map(str, Path(path).glob("*.safetensors")))):
            return _sha256(tuple(map(_state, weights)))
    return ""


def _state(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _sha256(states: tuple[tuple[str, int, int], ...]) -> str:
    """Digest of files, computed once for each state of them (path, size and time of change)."""
    return sha256_of_files([Path(path) for path, *_ in states])
