"""The clock and the signals."""

from __future__ import annotations

import os
import signal
import threading
import warnings

import pytest

from shoal.training import Pulse


def listen(*numbers: int) -> tuple[int, list[str]]:
    """Send signals to a process that listens; return its exit code and what it saw after each."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        pid = os.fork()
    if pid == 0:
        try:
            pulse = Pulse(seconds=1e9)
            with pulse.listening():
                for number in numbers:
                    os.kill(os.getpid(), number)
                    os.write(writing, f"{pulse.asked} {pulse.due()}\n".encode())
            os.write(writing, b"left\n")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as output:
        lines = output.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lines


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends_at_once(first: signal.Signals, second: signal.Signals) -> None:
    assert listen(first, second) == (128 + second, [f"{first.name} True"])


def test_after_one_signal_everything_is_left_in_order() -> None:
    assert listen(signal.SIGTERM) == (0, ["SIGTERM True", "left"])


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    pulse = Pulse()
    with pulse.listening():
        assert signal.getsignal(signal.SIGTERM) != before[1]
        os.kill(os.getpid(), signal.SIGTERM)
        assert pulse.asked == "SIGTERM"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def run() -> None:
        with Pulse().listening():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before]


def test_it_is_due_once_an_interval() -> None:
    now = 0.0
    pulse = Pulse(seconds=2, clock=lambda: now)
    assert not pulse.due()
    now = 2.0
    assert pulse.due()
    pulse.rest()
    assert not pulse.due()
    now = 3.9
    assert not pulse.due()
    now = 4.0
    assert pulse.due()


def test_once_asked_it_is_due_for_ever() -> None:
    pulse = Pulse(seconds=1e9)
    pulse.ask("SIGTERM")
    pulse.rest()
    assert pulse.due()


def test_a_signal_that_comes_while_it_goes_to_rest_is_not_lost() -> None:
    def clock() -> float:
        if pulse is not None:
            pulse.ask("SIGTERM")  # in the middle of `rest`
        return 0.0

    pulse: Pulse | None = None
    made = Pulse(seconds=1e9, clock=clock)
    pulse = made
    made.rest()
    assert made.due()
