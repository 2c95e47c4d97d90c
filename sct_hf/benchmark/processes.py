"""Tasks in separate processes, several at a time, each with its own log."""

import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sct_hf.errors import InputError

# Where it can be had, a server that has imported everything is forked: no process imports again.
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@dataclass(frozen=True)
class Task:
    """A function to call in a fresh process.

    Attributes:
        name: Name in messages.
        function: The function, importable by name.
        arguments: Its arguments, which are pickled.
        log: File for its output; if not given, the output is shown.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    log: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        task: The task.
        seconds: Its run time.
        error: The error in one line; None on success.
    """

    task: Task
    seconds: float
    error: str | None


def run_tasks(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """Run tasks, `jobs` at a time, and yield their outcomes in the order in which they end.

    Each task has a fresh process with its own memory, so a crash does not affect the others. All processes end with
    this one, however it ends, and when the iterator is closed.

    Args:
        tasks: The tasks, in the order to start them.
        jobs: Processes at a time; 0 calls the functions in this process, one by one, without logs.
    """
    if jobs == 0:
        for task in tasks:
            started = time.perf_counter()
            error = None
            try:
                task.function(*task.arguments)
            except Exception as caught:
                error = _in_a_line(caught)
            yield Outcome(task, time.perf_counter() - started, error)
        return
    context: Any = multiprocessing.get_context(_METHOD)
    if _METHOD == "forkserver":
        context.set_forkserver_preload([task.function.__module__ for task in tasks[:1]])
    waiting = deque(tasks)
    running: dict[Any, tuple[BaseProcess, Task, float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                if task.log is not None:
                    task.log.parent.mkdir(parents=True, exist_ok=True)
                process: BaseProcess = context.Process(target=_child, args=(task,))
                process.start()
                running[process.sentinel] = (process, task, time.perf_counter())
            for sentinel in wait(list(running)):
                ended, task, started = running.pop(sentinel)
                ended.join()
                yield Outcome(task, time.perf_counter() - started, _failure(task, ended.exitcode))
    finally:
        for left, _, _ in running.values():
            left.terminate()
        for left, _, _ in running.values():
            left.join()


def _child(task: Task) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if task.log is not None:
        log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log, stream.fileno())
    try:
        task.function(*task.arguments)
    except Exception as error:
        if not isinstance(error, InputError):
            traceback.print_exc()
        print(f"error: {_in_a_line(error)}", file=sys.stderr)
        sys.exit(1)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _failure(task: Task, status: int | None) -> str | None:
    if status == 0:
        return None
    if status is not None and status < 0:
        return f"killed by signal {-status}; not enough memory, perhaps"
    if task.log is None:
        return "see what it printed"
    lines: list[str] = []
    with suppress(OSError):
        lines = task.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines else ""
    return last.removeprefix("error: ") if last.startswith("error: ") else f"exit status {status}"


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
