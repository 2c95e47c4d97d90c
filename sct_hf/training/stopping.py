"""Ctrl-C and SIGTERM: training continues to its next step, saves a checkpoint and ends; other phases end at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

import torch
from accelerate import Accelerator
from torch import distributed

from sct_hf.training.launch import launcher

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(SystemExit):
    """A signal asked the process to stop. Uncaught, it ends the process with exit code 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class StopSignals:
    """Signals that stop a run inside the `with` block; a second one ends the process at once.

    Outside the main thread, and if a signal is ignored (nohup), nothing changes.

    Args:
        accelerator: The accelerator of this process.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator, self._owner = accelerator, os.getpid()
        self._launcher = launcher()
        self._number = 0
        self._waits = False
        self._before: dict[int, Any] = {}
        self._group: Any = None

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                try:
                    self._before[number] = signal.signal(number, self._handle)
                except ValueError:  # another thread than the main one
                    break
        if distributed.is_available() and distributed.is_initialized():
            # An own group on CPU: asking the others never waits for a device.
            self._group = distributed.new_group(backend="gloo")
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def at_steps(self) -> Iterator[None]:
        """Delay signals inside this block until `stopped` and `stop` are called, or until its end."""
        self._waits = True
        try:
            yield
        except RuntimeError:  # a signal to all processes has ended some that this one needs
            if not self._number:
                raise
            self.stop()
        finally:
            self._waits = False
        if self.stopped():
            self.stop()

    def stopped(self) -> bool:
        """Whether a process got a signal, or the launcher of this one has ended.

        Every process calls this at the same places; all get the same answer.
        """
        if self._launcher is not None and os.getppid() != self._launcher:
            self._number = self._number or signal.SIGTERM
        if self._group is None:
            return self._number > 0
        number = torch.tensor(self._number)
        distributed.all_reduce(number, distributed.ReduceOp.MAX, group=self._group)
        self._number = max(self._number, int(number))
        return int(number) > 0

    def stop(self) -> NoReturn:
        """End the run."""
        raise StoppedError(self._number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a process that reads images, and ends with this one
            return
        for one in self._before:
            signal.signal(one, signal.SIG_DFL)
        self._number = number
        if not self._waits:
            raise StoppedError(number)
        if self._accelerator.is_main_process:
            name = signal.Signals(number).name
            os.write(2, f"\n{name}: a checkpoint is saved at the next step; a second one ends at once\n".encode())
