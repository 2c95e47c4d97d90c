"""Runs that are killed at random moments and go on: a program of its own, since its runs are forks of one process.

Imports take longer than a tiny run, so this process does them once. It computes nothing itself; every run is a fork of
it, a process as real as any, which calls what scripts/train.py calls and is killed by SIGKILL: half of them after a
random time, half at a random one of their accesses to files, which reaches the moments within a save.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from transformers.utils import logging

from sct_hf.errors import InputError
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse

_VARIES = {"train_seconds", "images_per_second", "data_wait_share"}


WORKER_KILLED = 2
"""Exit code of a run whose process that reads images was killed."""


def start(words: list[str], log: Path, dies_at: int = 0) -> int:
    """Fork a run; return its process id. `dies_at`: which access to files it is killed at; 0 for none."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with log.open("a") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        count = 0

        def hook(event: str, _: Any) -> None:
            nonlocal count
            if event == "open" or event.startswith(("os.", "shutil.")):
                count += 1
                if count == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        train(parse(words))
        print(f"accesses {count}", flush=True)
        code = 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = WORKER_KILLED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a run; return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def without_times(content: Any) -> Any:
    """JSON without what the clock decides."""
    if isinstance(content, dict):
        return {key: without_times(value) for key, value in content.items() if key not in _VARIES}
    return [without_times(value) for value in content] if isinstance(content, list) else content


def outcome(folder: Path) -> dict[str, Any]:
    """All files below a folder by name: weights and cached maps by digest, JSON by content."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix in (".safetensors", ".npy", ".csv", ".npz"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name in ("metrics.json", "history.json"):
            found[name] = without_times(json.loads(path.read_text()))
        else:
            found[name] = ""
    return found


def campaign(scenarios: dict[str, list[str]], count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Kill and resume `count` runs; return a row for each that tells how it went."""
    rng = random.Random(seed)
    whole: dict[str, tuple[float, int, dict[str, Any]]] = {}

    def words_of(scenario: str, place: Path) -> list[str]:
        return [*scenarios[scenario], f"--output_dir={place / 'run'}", f"--cache_dir={place / 'cache'}"]

    for scenario in scenarios:
        place = folder / f"whole-{scenario}"
        place.mkdir()
        started = time.perf_counter()
        log = folder / f"whole-{scenario}.log"
        assert ended(start(words_of(scenario, place), log)) == 0, log.read_text()
        accesses = int(log.read_text().rpartition("accesses ")[2])
        whole[scenario] = (time.perf_counter() - started, accesses, outcome(place))

    rows = []
    for number in range(count):
        scenario = list(scenarios)[number % len(scenarios)]
        seconds, accesses, expected = whole[scenario]
        place, log = folder / f"killed-{number}", folder / f"killed-{number}.log"
        place.mkdir()
        words, codes, moments = words_of(scenario, place), [], []
        for _ in range(rng.choice((1, 1, 2))):
            if number // len(scenarios) % 2:
                moment = rng.uniform(0, seconds)
                pid = start(words, log)
                time.sleep(moment)
                os.kill(pid, signal.SIGKILL)
            else:
                moment = rng.randint(1, accesses)
                pid = start(words, log, moment)
            codes.append(ended(pid))
            moments.append(moment)
            words = [*words_of(scenario, place), "--resume"]
        left = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
        codes.append(ended(start(words, log)))
        found = outcome(place)
        differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        row = {"scenario": scenario, "moments": moments, "codes": codes, "left": left, "differing": differing}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


if __name__ == "__main__":
    logging.disable_progress_bar()
    asked = json.loads(sys.argv[1])
    campaign(asked["scenarios"], asked["count"], asked["seed"], Path(asked["folder"]))
