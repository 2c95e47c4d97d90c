"""The folder of a run: its owner, its state, and permission to write into it.

A run claims its folder when it is ready to train. Before the first checkpoint nothing can be lost, so any run may
start there.
"""

import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from sct_hf import __version__
from sct_hf.errors import InputError
from sct_hf.files import PARTIAL, atomic_write
from sct_hf.peers.registry import head_names
from sct_hf.training.arguments import Arguments
from sct_hf.training.checkpoints import newest_checkpoint, remove_checkpoints
from sct_hf.training.identity import difference, run_identity
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_lock import LOCK

_PACKAGES = ("torch", "torchvision", "timm", "transformers", "datasets", "accelerate")


def package_versions() -> dict[str, str]:
    """Versions of Python, this package and those that decide what a run computes."""
    packages = {package: version(package) for package in _PACKAGES}
    return {"python": platform.python_version(), "sct_hf": __version__, **packages}


class RunFolder:
    """The output folder of one run, which holds its lock (see `run_lock`).

    Args:
        arguments: Arguments of the run. `resume` and `overwrite_output_dir` decide about a folder in use.

    Attributes:
        path: The folder.
        finished: Whether this run is in the folder and finished.
        record: Content of training_args.json.
        note: A note for the user on the folder's content; "" if there is none.

    Raises:
        InputError: The folder has another run, the same one without `resume`, or foreign files.
    """

    def __init__(self, arguments: Arguments) -> None:
        self.path = Path(arguments.train.output_dir)
        self.record: dict[str, Any] = {
            "arguments": arguments.to_dict(),
            "command": arguments.command(),
            "identity": run_identity(arguments),
            "finished": False,
            "versions": package_versions(),
        }
        train = arguments.train
        self._overwrite = train.overwrite_output_dir and not train.resume
        self.finished, self.note = False, ""
        if self._overwrite:
            return
        found = _read(self.path)
        if found is None:
            if self._foreign_files():
                self._refuse("has files of something else")
            return
        differing = difference(found["identity"], self.record["identity"])
        if not found["finished"] and newest_checkpoint(self.path) is None:
            self._overwrite = True
            self.note = f"{self.path} has a run that stopped before its first checkpoint: training starts again there"
        elif not train.resume:
            remedy = "" if found["finished"] else "continue it with --resume, "
            self._refuse(f"holds {self._describe(found)}", remedy)
        elif differing:
            self._refuse(f"has another run, which differs in {differing}")
        else:
            self.finished = bool(found["finished"])

    def claim(self) -> None:
        """Remove the files of a replaced run, and write the run's arguments into the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self._overwrite:
            # First what tells whose the rest is: nobody must go on with a part of it.
            for name in (RunFile.ARGUMENTS, *RunFile, *head_names()):
                path = self.path / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            remove_checkpoints(self.path)
        self._write()

    def finish(self) -> None:
        """Mark the run as finished and remove files that only a resumed run needs."""
        if not self.finished:
            self.record["finished"] = True
            self._write()
        remove_checkpoints(self.path)
        (self.path / RunFile.BEST).unlink(missing_ok=True)

    def _write(self) -> None:
        with atomic_write(self.path / RunFile.ARGUMENTS) as temporary:
            temporary.write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")

    def _foreign_files(self) -> bool:
        """Whether the folder has other files than those of killed processes."""
        names = [path.name for path in self.path.iterdir()] if self.path.exists() else []
        return any(name != LOCK and not name.startswith(PARTIAL) for name in names)

    def _describe(self, found: dict[str, Any]) -> str:
        if found["finished"]:
            return "a finished run"
        checkpoint = newest_checkpoint(self.path)
        assert checkpoint is not None
        return f"an unfinished run ({checkpoint.name})"

    def _refuse(self, reason: str, remedy: str = "") -> NoReturn:
        raise InputError(
            f"output_dir is {str(self.path)!r}, which {reason}: {remedy}choose another folder, or start again there "
            "with --overwrite_output_dir"
        )


def recorded_identity(folder: Path) -> dict[str, Any] | None:
    """The `run_identity` of the run in a folder, finished or not; None if there is none.

    Raises:
        InputError: Its record cannot be read.
    """
    found = _read(folder)
    return None if found is None else found["identity"]


def _read(folder: Path) -> dict[str, Any] | None:
    file = folder / RunFile.ARGUMENTS
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read: {error}; choose another output_dir") from error
    if not isinstance(found, dict) or not isinstance(found.get("identity"), dict) or "finished" not in found:
        raise InputError(f"{file} is not the record of a run; choose another output_dir")
    return found
