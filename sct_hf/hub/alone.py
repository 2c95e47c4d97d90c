"""Run published files as others would: in a separate process that cannot import sct_hf."""

import os
import subprocess
import sys
from pathlib import Path


def run_alone(script: str, *arguments: Path, folder: Path) -> str | None:
    """Run a script of this folder that blocks the import of `sct_hf`.

    Args:
        script: Its name.
        *arguments: Its arguments.
        folder: Its working folder, where it may write files.

    Returns:
        Why it failed; None on success.

    Raises:
        OSError: The process cannot be started.
    """
    words = [sys.executable, "-P", str(Path(__file__).with_name(script)), *map(str, arguments)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(folder / "modules")}
    child = subprocess.run(
        words, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if not child.returncode:
        return None
    return (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
