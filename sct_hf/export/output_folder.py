"""The folder of an export, written whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sct_hf.errors import InputError

METADATA = "export.json"


def check_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that an export may be written to `folder`.

    Raises:
        InputError: It is a file, has files that no export wrote, or has an export and `overwrite` is not given.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or not (folder / METADATA).is_file():
        raise InputError(f"output_dir is {str(folder)!r}, which has files of something else: choose another folder")
    if not overwrite:
        raise InputError(
            f"output_dir is {str(folder)!r}, which holds an export: choose another folder, or replace it with "
            "--overwrite_output_dir"
        )


@contextmanager
def whole_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder next to `folder`. It replaces `folder` on success and is removed on failure.

    Args:
        folder: The folder to create.
        overwrite: Whether to replace an export in it.

    Raises:
        InputError: As for `check_output_folder`, before anything is written.
    """
    check_output_folder(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made, former = Path(temporary) / "new", Path(temporary) / "former"
        made.mkdir()
        yield made
        if folder.exists():
            os.replace(folder, former)
        os.replace(made, folder)


def write_metadata(folder: Path, content: dict[str, object]) -> None:
    """Write `export.json`."""
    (folder / METADATA).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def copy_example(folder: Path) -> None:
    """Write `run_onnx.py`, which tags images without torch."""
    shutil.copy(Path(__file__).with_name("run_onnx.py"), folder)
