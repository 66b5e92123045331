"""The clock and the signals."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress

import pytest

from shoal.training import Pulse
from shoal.training.pulse import SIGNALS, Interrupted


def listen(*numbers: int, apart: float = 1.0, ignored: Sequence[int] = ()) -> tuple[int, list[str]]:
    """Send signals to a process that listens, by its clock so far apart; return its exit code and what it saw.

    It was started with the `ignored` ones ignored, as `nohup` and shells do.
    """
    reading, writing = os.pipe()
    clock = itertools.count(0.0, apart)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what has started the tests may ignore some
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.default_int_handler)
            pulse = Pulse(seconds=1e9, clock=lambda: next(clock))
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


def test_a_hangup_asks_for_nothing_and_ends_nothing() -> None:
    assert listen(signal.SIGHUP) == (0, ["None False", "left"])


def test_ctrl_c_stays_ignored_where_it_was_and_no_other_signal_does() -> None:
    number = signal.SIGINT
    assert listen(number, number, ignored=SIGNALS) == (0, ["None False", "None False", "left"])
    for number in set(SIGNALS) - {signal.SIGINT}:
        assert listen(number, ignored=SIGNALS) == (0, [f"{number.name} True", "left"])


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_come_together_are_one(second: signal.Signals) -> None:
    """`timeout` signals the process and then its group; torchrun sends SIGTERM on where Ctrl-C reached the group."""
    assert listen(signal.SIGINT, second, apart=0.01) == (0, ["SIGINT True", "SIGINT True", "left"])


def test_where_nothing_has_to_be_finished_first_a_signal_raises_once() -> None:
    pulse, seen = Pulse(seconds=1e9, clock=lambda: 0.0), list[str]()

    def wait() -> None:
        with pulse.waited():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)  # what is tidied up is not interrupted
                seen.append("tidied up")

    with pulse.listening():
        with pytest.raises(Interrupted, match="SIGTERM"):
            wait()
        os.kill(os.getpid(), signal.SIGTERM)
    assert seen == ["tidied up"]


def test_what_was_raised_and_caught_is_raised_again() -> None:
    pulse = Pulse(seconds=1e9)

    def wait() -> None:
        with pulse.waited(), suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    with pulse.listening(), pytest.raises(Interrupted):
        wait()


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
