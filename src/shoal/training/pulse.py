"""The clock and the signals, as one question that costs a tenth of a microsecond a step.

A signal handler sets a flag, which the loop answers at the next step boundary by saving and stopping. Where there is
nothing to be finished first, while a batch is waited for say, it raises Interrupted as well. A second signal ends the
process at once.
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
"""Ask to save and stop: Ctrl-C, `kill` and schedulers, and what schedulers send ahead of a time limit.

Ctrl-C does not where it is ignored already: a shell starts what it puts into the background of a script like that.
"""
IGNORED = (signal.SIGHUP,)
"""The terminal was closed: training goes on, and its log is in the run's folder."""
ECHO_SECONDS = 0.5
"""Signals this close are one: `timeout` and launchers signal a process, and then its whole group."""


def _end_child(number: int) -> None:
    """Let SIGTERM end a forked process, by which pools end their workers; what a terminal sends is for its parent."""
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class Interrupted(BaseException):
    """The run was asked to stop. No Exception: code that reads data, a user's too, must not take it for an error."""


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
        self.waiting = False
        """Whether a signal raises Interrupted at once, rather than at the next step boundary."""

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
    def waited(self) -> Generator[None]:
        """Let a signal within the block raise Interrupted; one that was caught there is raised at its end."""
        self.waiting = True
        try:
            yield
        finally:
            self.waiting = False
        if self.asked is not None:
            raise Interrupted(self.asked)

    @contextmanager
    def listening(self) -> Generator[None]:
        """Turn signals into a request; outside the main thread signals are left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        first, owner = 0.0, os.getpid()

        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal first
            del frame
            if os.getpid() != owner:  # a process that was forked within has the handler, too
                _end_child(number)
            elif self.asked is None:
                first = self.clock()
                self.ask(signal.Signals(number).name)
            elif self.clock() - first > ECHO_SECONDS:
                os._exit(128 + number)
            if self.waiting:
                self.waiting = False  # what is left on the way out is not to be interrupted once more
                raise Interrupted(self.asked)

        heard = [number for number in SIGNALS if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
        before: dict[Any, Any] = {number: signal.signal(number, handle) for number in heard}
        before |= {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python
