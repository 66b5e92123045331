"""The choice of an execution: a pure function of what was measured and of the steps that are left."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch

from shoal.training import execution
from shoal.training.execution import Measured, chosen, is_short, seconds_a_step, worth_compiling

MS = 1e-3


def measured(**changes: Any) -> Measured:
    return Measured(
        **{"threads": 2, "eager": 1.0 * MS, "captured": 0.6 * MS, "heavy": 0.1 * MS, "nodes": 100, **changes}
    )


COMPILED = {"compiled": 0.3 * MS, "compile_seconds": 10.0}


@pytest.mark.parametrize(
    ("changes", "steps", "wanted"),
    [
        ({}, 1000, "captured"),
        ({"captured": 0.96 * MS}, 1000, "eager"),  # not clearly faster
        ({"captured": 2.0 * MS}, 1000, "eager"),
        ({"captured": None, "refused": "it has no rule"}, 1000, "eager"),
        (COMPILED, 1000, "captured"),  # 0.3 ms a step saved is 0.3 s, against 10 s of compiling
        (COMPILED, 33_000, "captured"),
        (COMPILED, 34_000, "compiled"),
        ({**COMPILED, "captured": 2.0 * MS}, 14_000, "eager"),  # 0.7 ms a step are saved, of eager
        ({**COMPILED, "captured": 2.0 * MS}, 15_000, "compiled"),
        ({**COMPILED, "compiled": 0.7 * MS}, 10**9, "captured"),  # compiled is slower
        ({**COMPILED, "compiled": 0.59 * MS}, 10**9, "captured"),  # or not clearly faster
    ],
)
def test_the_fastest_is_chosen_for_the_steps_that_are_left(changes: dict[str, Any], steps: int, wanted: str) -> None:
    facts = measured(**changes)
    first, second = chosen(facts, steps), chosen(facts, steps)
    assert first == second
    assert first.execution == wanted
    assert first.threads == 2
    assert first.measured == facts.decided(wanted, steps)


@pytest.mark.parametrize(
    ("changes", "steps", "wanted"),
    [
        ({}, 1000, False),
        ({}, 10**6, True),
        ({"captured": None}, 10**9, False),
        ({"not_compiled": "there is no compiler"}, 10**9, False),
        ({"heavy": 0.6 * MS}, 10**9, False),  # nothing of it can be fused
        ({"nodes": 10_000}, 10**6, False),  # compiling takes minutes
        ({"nodes": 10_000}, 10**7, True),
        ({**COMPILED}, 33_000, False),  # measured by now: what is saved against what it took
        ({**COMPILED}, 34_000, True),
    ],
)
def test_compiling_is_tried_where_it_may_pay(changes: dict[str, Any], steps: int, wanted: bool) -> None:
    facts = measured(**changes)
    assert worth_compiling(facts, steps) == worth_compiling(facts, steps) == wanted


def test_what_is_expected_of_compiling_counts_from_the_faster_of_the_others() -> None:
    slow = measured(eager=0.5 * MS, captured=0.6 * MS)
    saved = 0.5 * MS - (0.1 * MS + 0.5 * 0.5 * MS)
    cost = execution.WORTH * (execution.COMPILE_SECONDS + execution.COMPILE_SECONDS_A_NODE * 100)
    assert not worth_compiling(slow, math.floor(cost / saved * 0.99))
    assert worth_compiling(slow, math.ceil(cost / saved * 1.01))


@pytest.mark.parametrize(
    ("changes", "steps", "said"),
    [
        ({}, 1000, "captured, 0.6 ms a step against 1 ms eager; compiling does not pay in 1 s of work"),
        ({}, 200_000, "captured, 0.6 ms a step against 1 ms eager; compiling does not pay in 2 min of work"),
        ({"captured": 2 * MS}, 9000, "eager, 1 ms a step against 2 ms captured; compiling does not pay in 9 s of work"),
        (COMPILED, 10**6, "compiled, 0.3 ms a step against 1 ms eager and 0.6 ms captured"),
        ({"captured": None, "refused": "no rule"}, 9, "eager, 1 ms a step; the step cannot be captured: no rule"),
        ({"not_compiled": "why"}, 9, "captured, 0.6 ms a step against 1 ms eager; it was not compiled: why"),
    ],
)  # fmt: skip
def test_the_choice_is_told_with_its_reason(changes: dict[str, Any], steps: int, said: str) -> None:
    assert chosen(measured(**changes), steps).why == said


def test_measurements_are_plain_and_read_back() -> None:
    facts = measured(**COMPILED, refused=None, not_compiled="why")
    assert Measured.of(facts.plain()) == facts


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": "2"}, {"threads": 0}, {"threads": True}, {"eager": "fast"}, {"eager": -1.0}, {"captured": math.nan},
        {"compiled": math.inf}, {"heavy": None}, {"nodes": 1.5}, {"refused": 3}, {"not_compiled": []}, {"new": 1},
        {"taken": "fast"}, {"steps": 1.5}, {"steps": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_measurement_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Measured.of({**measured().plain(), **changes})


def test_a_step_is_timed_on_the_clock_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, list[int]()
    monkeypatch.setattr("time.perf_counter", lambda: now)

    def perform(number: int) -> None:
        nonlocal now
        calls.append(number)
        now += 5.0 if len(calls) == 1 else 0.01  # what is slow the first time only does not count

    assert seconds_a_step(perform, torch.device("cpu")) == pytest.approx(0.01)
    assert len(calls) < 20


def test_slow_steps_are_performed_twice_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, list[int]()
    monkeypatch.setattr("time.perf_counter", lambda: now)

    def perform(number: int) -> None:
        nonlocal now
        calls.append(number)
        now += 60.0

    assert seconds_a_step(perform, torch.device("cpu")) == 60.0
    assert len(calls) == 2


def test_what_one_seed_took_the_others_take() -> None:
    """Compiling had been paid for where it was tried; that must not give the next seed another plan."""
    facts = measured(compiled=0.5 * MS, compile_seconds=20.0)
    first = chosen(facts, 50_000, ready=True)
    assert (first.execution, chosen(facts, 50_000).execution) == ("compiled", "captured")
    assert first.measured is not None
    assert chosen(first.measured, 50_000) == first
    assert chosen(Measured.of(first.measured.plain()), 40_000).execution == "compiled"
    assert chosen(first.measured, 4_000).execution == "captured"  # another order of magnitude


@pytest.mark.parametrize(
    ("eager", "parameters", "imported", "alone"),
    [(1e-3, 4, 4.0, 4.0), (1e-3, 10, 8.6, 4.0), (40e-3, 20, 50.0, 20.0)],
    ids=["small", "of more parameters", "of long steps"],
)
def test_little_work_has_to_be_worth_what_looking_takes(
    eager: float, parameters: int, imported: float, alone: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`imported`, `alone`: seconds of work from which it is, with what is imported to record a step, and without."""
    monkeypatch.delitem(sys.modules, "torch._inductor", raising=False)
    assert is_short(eager, round(0.98 * imported / eager), parameters)
    assert not is_short(eager, round(1.02 * imported / eager), parameters)
    monkeypatch.setitem(sys.modules, "torch._inductor", torch)
    assert is_short(eager, round(0.98 * alone / eager), parameters)
    assert not is_short(eager, round(1.02 * alone / eager), parameters)


def test_that_a_training_was_short_is_remembered() -> None:
    facts = Measured(2, eager=1e-3).decided("eager", 3900)
    choice = chosen(facts, 3900)
    assert choice.why == "eager; 3.9 s of work is too little to gain from"
    assert choice.measured == facts
    assert facts.short
    assert facts.taken_for(3900) == "eager"
    assert facts.taken_for(40_000) is None
    assert not measured().short
    assert not measured(captured=None, refused="why").short
    assert Measured.of(facts.plain()) == facts
