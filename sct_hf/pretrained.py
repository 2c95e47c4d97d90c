"""Load checkpoints with the Auto classes of transformers, and turn every failure into an `InputError`."""

from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.network import failure_reason

_NAMED = (OSError, ValueError, RuntimeError)


def load_pretrained(kind: Any, name: str | Path, **options: Any) -> Any:
    """Call `kind.from_pretrained(name, **options)`.

    Raises:
        InputError: Loading failed; the message is only the reason.
    """
    if Path(name).is_dir() and not any(Path(name).glob("*config.json")):
        raise InputError("the folder has no config.json.")
    try:
        return kind.from_pretrained(name, **options)
    except Exception as error:  # files of odd content make transformers raise almost anything
        reason = " ".join(failure_reason(error).split())[:500]
        raise InputError(reason if isinstance(error, _NAMED) else f"{type(error).__name__}: {reason}") from error
