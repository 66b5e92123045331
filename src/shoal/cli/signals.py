"""Signals to `shoal train` outside of the training itself, while torch is imported or data are prepared, say.

Nothing has to be saved there: the process ends at once, with the exit code that says that the same command goes on;
Slurm is asked to run its job again as it is after a checkpoint. Ctrl-C raises KeyboardInterrupt, as ever. A terminal
that is closed ends nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

from shoal.cli.slurm import requeue

RESUMABLE = 75


def _end(process: int, number: int, frame: FrameType | None) -> None:
    """End this process; where it is the one that began, and none that it has forked, say what is next."""
    del frame
    if os.getpid() == process:
        name = signal.Signals(number).name
        _say(f"ended by {name} while no step was trained: the same command goes on from there.")
        if said := requeue({"by": name, "new_steps": 0}):
            _say(said)
    os._exit(RESUMABLE)


def _say(text: str) -> None:
    """Write to stderr past its buffer, which may be in use."""
    with suppress(OSError):
        os.write(2, f"shoal: {text}\n".encode(errors="replace"))


@contextmanager
def resumable() -> Generator[None]:
    """End with 75 on SIGTERM and SIGUSR1 within the block, where nothing else listens to them; only a main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    end = partial(_end, os.getpid())
    handlers = {signal.SIGTERM: end, signal.SIGUSR1: end, signal.SIGHUP: signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
