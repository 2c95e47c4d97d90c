"""One run at a time per folder: a lock of the operating system, which also ends with a killed process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout

from sct_hf.errors import InputError
from sct_hf.files import remove_partial

LOCK = ".lock"


@contextmanager
def run_lock(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Create and lock the folder, and remove incomplete files of killed runs.

    The main process holds the lock for all. A folder that was created here and is empty at the end is removed.

    Args:
        folder: Folder of a run.
        accelerator: The accelerator of this process.

    Raises:
        InputError: In every process: another run works there, or the folder cannot be written.
    """
    made = not os.path.exists(folder)
    lock = FileLock(folder / LOCK)
    fault = [_acquire(lock, folder) if accelerator.is_main_process else ""]
    broadcast_object_list(fault)
    if fault[0]:
        raise InputError(f"output_dir is {str(folder)!r}{fault[0]}")
    try:
        yield
    finally:
        if accelerator.is_main_process:
            if os.name != "nt":  # Windows removes no open file; filelock does so there
                (folder / LOCK).unlink(missing_ok=True)
            lock.release()
            if made:
                with suppress(OSError):  # it is not empty
                    folder.rmdir()


def _acquire(lock: FileLock, folder: Path) -> str:
    """Lock the folder; return the error, or an empty text."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        remove_partial(folder)
    except Timeout:
        return ", where another run is working: wait until it ends, or choose another folder"
    except OSError as error:
        return f", which cannot be used as a folder ({error.strerror or error}): choose another one"
    return ""
