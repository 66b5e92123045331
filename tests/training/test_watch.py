"""The best weights and the early stop, and that they go on where they were."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.checkpoints import plain
from shoal.training import BestWeights, EarlyStop, Row
from shoal.training.watch import better


class Keeper:
    """An engine as callbacks see it."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def keep(self, run: int, *, weights: str = "raw") -> None:
        self.kept.append(run)


def watch(callback: BestWeights | EarlyStop, values: list[float], *, first: int = 1) -> Keeper:
    keeper: Any = Keeper()
    for step, value in enumerate(values, first):
        callback.evaluated(keeper, [Row(0, step, step / 10, {"valid.x": value, "lr": 0.1})])
    return keeper


@pytest.mark.parametrize(
    ("value", "than", "higher", "expected"),
    [
        (1.0, None, True, True),
        (1.0, 2.0, True, False),
        (1.0, 2.0, False, True),
        (2.0, 2.0, True, False),
        (2.0, 2.0, False, False),
        (math.nan, None, True, False),
        (math.inf, 1.0, True, False),
        (-math.inf, 1.0, False, False),
    ],
)
def test_what_is_better(value: float, than: float | None, higher: bool, expected: bool) -> None:
    assert better(value, than, higher=higher) == expected


def test_the_best_is_the_first_of_equals() -> None:
    best = BestWeights("valid.x", higher=True)
    keeper = watch(best, [0.1, 0.5, math.nan, 0.5, 0.4])
    assert (best.value, best.step, best.metrics) == (0.5, 2, {"valid.x": 0.5, "lr": 0.1})
    assert keeper.kept == [0, 0]
    assert best.stop() is None


def test_it_stops_once_patience_is_spent() -> None:
    stop = EarlyStop("valid.x", higher=False, patience=2)
    watch(stop, [3.0, 2.0, 2.5])
    assert stop.stop() is None
    watch(stop, [1.5, 1.6])
    assert stop.stop() is None
    watch(stop, [1.5])
    assert stop.stop() == "early stop: valid.x did not improve on 1.5 for 2 evaluations"


def test_it_stops_where_no_value_was_ever_finite() -> None:
    stop = EarlyStop("valid.x", higher=False, patience=1)
    watch(stop, [math.nan])
    assert stop.stop() == "early stop: valid.x was not finite in 1 evaluation"


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, math.nan]), max_size=12), st.integers(0, 12), st.booleans())
def test_saved_in_the_middle_they_go_on_as_if_nothing_had_happened(values: list[float], cut: int, higher: bool) -> None:
    for make in (
        lambda: BestWeights("valid.x", higher=higher),
        lambda: EarlyStop("valid.x", higher=higher, patience=2),
    ):
        whole, first, second = make(), make(), make()
        watch(whole, values)
        watch(first, values[:cut])
        second.load_state_dict(plain(first.state_dict()))
        watch(second, values[cut:], first=cut + 1)
        assert second.state_dict() == whole.state_dict()
        assert second.stop() == whole.stop()


def test_each_watches_its_own_run() -> None:
    best, keeper = BestWeights("valid.x", higher=True, run=1), Keeper()
    engine: Any = keeper
    best.evaluated(engine, [Row(0, 1, 0.1, {"valid.x": 9.0}), Row(1, 1, 0.1, {"valid.x": 2.0})])
    assert best.value == 2.0
    assert keeper.kept == [1]
