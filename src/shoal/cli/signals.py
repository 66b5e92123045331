"""Signals to `shoal train` outside of the training itself, while torch is imported or data are prepared, say.

Nothing has to be saved there: the process ends at once, with the exit code that says that the same command goes on.
Ctrl-C raises KeyboardInterrupt, as ever. A terminal that is closed ends nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

RESUMABLE = 75


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    name = signal.Signals(number).name
    os.write(2, f"shoal: ended by {name} while no step was trained: the same command goes on from there.\n".encode())
    os._exit(RESUMABLE)


@contextmanager
def resumable() -> Generator[None]:
    """End with 75 on SIGTERM and SIGUSR1 within the block, where nothing else listens to them; only a main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGTERM: _end, signal.SIGUSR1: _end, signal.SIGHUP: signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
