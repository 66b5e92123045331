"""Signals to the driver of a sweep: the first has every run saved and stopped, the second ends the workers at once."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from shoal.cli.signals import RESUMABLE
from shoal.sweeps.driver import Driver

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def heard(driver: Driver) -> Generator[None]:
    """Turn signals within the block into requests to the queue; a terminal that is closed ends nothing."""

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        queue = driver.queue
        if queue is None:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(RESUMABLE)
        if not queue.stopping:
            driver.asked = signal.Signals(number).name  # which the driver says: this may come within a print
            queue.stop()
        elif number == signal.SIGINT:
            queue.kill()

    before = {number: signal.signal(number, handle) for number in STOP}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
