"""Running what is published as a stranger would: in a process of its own, in which sct_hf cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path


def run_alone(script: str, *arguments: Path, folder: Path) -> str | None:
    """Run a script of this folder, one that shuts `sct_hf` out.

    Args:
        script: Its name.
        *arguments: What it is given.
        folder: Where it runs, and where it may leave files.

    Returns:
        Why it failed; None if it did not.

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
