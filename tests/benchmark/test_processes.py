import json
import operator
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from sct_hf.benchmark.processes import Task, run_tasks


def test_an_error_in_a_process_of_its_own_is_told_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "raises.log"
    (outcome,) = run_tasks([Task("raises", operator.truediv, (1, 0), log)], jobs=2)
    assert outcome.error == "ZeroDivisionError: division by zero"
    assert "Traceback" in log.read_text()


@pytest.mark.slow
def test_a_process_that_dies_leaves_the_others_alone(tmp_path: Path) -> None:
    tasks = [
        Task("dies", signal.raise_signal, (signal.SIGKILL,), tmp_path / "dies.log"),
        Task("prints", print, ("seen",), tmp_path / "prints.log"),
        Task("prints as well", print, ("seen too",), tmp_path / "more.log"),
    ]
    outcomes = {outcome.task.name: outcome.error for outcome in run_tasks(tasks, jobs=2)}
    killed = "killed by signal 9; not enough memory, perhaps"
    assert outcomes == {"dies": killed, "prints": None, "prints as well": None}
    assert (tmp_path / "prints.log").read_text() == "seen\n"


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Its child, told by its log that it has begun, holds a lock on a file for as long as it lives."""
    program = f"""
import sys, time
from pathlib import Path
from sct_hf.benchmark.processes import Task, run_tasks
from tests.benchmark.held import hold
if __name__ == "__main__":
    list(run_tasks([Task("holds", hold, ({str(tmp_path / "lock")!r},), None)], jobs=1))
"""
    (tmp_path / "parent.py").write_text(program)
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"held\n"
    with pytest.raises(Timeout), FileLock(tmp_path / "lock", timeout=0):
        pass
    parent.kill()
    parent.wait()
    with FileLock(tmp_path / "lock", timeout=60):
        pass


def test_in_this_process() -> None:
    done: list[int] = []
    tasks = [
        Task("adds", done.append, (1,)),
        Task("raises", operator.truediv, (1, 0)),
        Task("adds", done.append, (2,)),
    ]
    assert [outcome.error for outcome in run_tasks(tasks, jobs=0)] == [
        None,
        "ZeroDivisionError: division by zero",
        None,
    ]
    assert done == [1, 2]


PEAKS = """
import json, sys, time
import numpy as np
from sct_hf.benchmark.memory import PeakMemory
path, size = sys.argv[1], int(sys.argv[2])
with PeakMemory() as before:
    pass
with PeakMemory() as memory:
    block = np.ones(size, dtype=np.uint8)
    deadline = time.monotonic() + 20
    while memory.megabytes < before.megabytes + 0.95 * size / 1e6 and time.monotonic() < deadline:
        pass
    del block
np.save(path, np.ones(size, dtype=np.uint8))
with PeakMemory() as mapped:
    total = int(np.load(path, mmap_mode="r").sum(dtype=np.int64))
print(json.dumps([before.megabytes, memory.megabytes, mapped.megabytes, total]))
"""


def test_peak_memory_sees_what_was_freed_again_but_no_mapped_file(tmp_path: Path) -> None:
    """In a process of its own: in this one, memory of earlier tests may be given back meanwhile."""
    size = 200_000_000
    command = [sys.executable, "-c", PEAKS, str(tmp_path / "maps.npy"), str(size)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before, memory, mapped, total = json.loads(output.splitlines()[-1])
    assert total == size
    assert memory > before + 0.9 * size / 1e6
    assert mapped < before + 0.5 * size / 1e6
