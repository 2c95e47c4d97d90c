"""SIGKILL at random moments: the run that goes on ends as an undisturbed one, and leaves the same files.

`SCT_KILLS=100 pytest -m slow tests/training/test_kills.py -s` kills a hundred runs; SCT_KILLS_SEED draws others.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.kill_campaign import WORKER_KILLED

REPOSITORY = Path(__file__).parents[2]
SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {"checkpoint_every": 1, "collage": 0.5},
    "cached": {"freeze_backbone": True, "cache_features": True, "checkpoint_every": 2},
    "report": {"figures": True, "known_proportion": 0.7, "epochs": 1},
    "compared": {"compare_head": "linear", "checkpoint_every": 3, "num_workers": 2},
}


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path: Path, words: Callable[..., list[str]]) -> None:
    count, seed = int(os.environ.get("SCT_KILLS", 8)), int(os.environ.get("SCT_KILLS_SEED", 0))
    scenarios = {name: words(**options) for name, options in SCENARIOS.items()}
    asked = json.dumps({"scenarios": scenarios, "count": count, "seed": seed, "folder": str(tmp_path)})
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, "-m", "tests.training.kill_campaign", asked]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"\n{sum(-signal.SIGKILL in row['codes'] for row in rows)} of {len(rows)} runs were killed")
    assert len(rows) == count
    for number, row in enumerate(rows):
        assert row["codes"][-1] == 0, (row, (tmp_path / f"killed-{number}.log").read_text()[-2000:])
        assert row["differing"] == [], row
        assert set(row["codes"][:-1]) <= {0, -signal.SIGKILL, WORKER_KILLED}, row
