"""The clock and the signals, as one question that costs a tenth of a microsecond a step.

A signal handler does nothing but set a flag (a second signal ends the process at once); the loop answers at the
next step boundary by saving and stopping.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ask to save and stop: Ctrl-C, `kill` and schedulers, and what schedulers send ahead of a time limit."""
IGNORED = (signal.SIGHUP,)
"""The terminal was closed: training goes on, and its log is in the run's folder."""


class Pulse:
    """True a few times a second, and at once after a signal.

    >>> pulse = Pulse(seconds=1e9)
    >>> pulse.due(), pulse.ask("SIGTERM"), pulse.due()
    (False, None, True)
    """

    def __init__(self, seconds: float = 0.2, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self.next = clock() + seconds
        self.asked: str | None = None

    def due(self) -> bool:
        """Return whether the loop should look up from its steps."""
        return self.clock() >= self.next

    def rest(self) -> None:
        """Be quiet for another interval, unless a signal has come."""
        self.next = self.clock() + self.seconds
        if self.asked is not None:  # looked at last: a signal may come between any two lines
            self.next = float("-inf")

    def ask(self, reason: str) -> None:
        """Ask the loop to stop at the next step boundary."""
        self.asked = reason
        self.next = float("-inf")

    @contextmanager
    def listening(self) -> Generator[None]:
        """Turn signals into a request; outside the main thread signals are left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            del frame
            if self.asked is not None:
                os._exit(128 + number)
            self.ask(signal.Signals(number).name)

        before: dict[Any, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
        before |= {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python
