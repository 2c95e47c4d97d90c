"""A task for a process that is to be ended from outside."""

import threading

from filelock import FileLock


def hold(path: str) -> None:
    """Take the lock, say so, and never let go."""
    with FileLock(path):
        print("held", flush=True)
        threading.Event().wait()
