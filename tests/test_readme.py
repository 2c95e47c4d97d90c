"""The first thing that README.md shows, run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_first_snippet_prints_what_is_shown() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    snippet, shown = re.search(r"```python\n(.*?)```\n+```text\n(.*?)```", text, re.DOTALL).groups()
    command = [sys.executable, "-c", snippet]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, shown), found.stderr
