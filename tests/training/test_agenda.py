"""What is due at which step: pure functions, whatever the intervals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import RecipeError
from shoal.recipe.parse import parse
from shoal.training import Agenda
from shoal.training.agenda import Every

intervals = st.floats(1, 500, allow_nan=False) | st.integers(1, 500).map(float) | st.floats(0.01, 1)


def walked(every: Every, total: int) -> list[int]:
    steps, step = [], 0
    while (following := every.following(step)) is not None and following <= total:
        steps.append(step := following)
    return steps


@given(intervals, st.integers(1, 2000))
def test_what_recurs_is_due_at_every_multiple_and_at_nothing_else(interval: float, total: int) -> None:
    due = {round(k * interval) for k in range(1, int((total + 2) / interval) + 2)}
    expected = sorted(step for step in due if 0 < step <= total)
    assert walked(Every(interval), total) == expected


@given(intervals, st.integers(0, 10**7))
def test_what_follows_is_the_first_step_that_is_due(interval: float, step: int) -> None:
    every = Every(interval)
    following = every.following(step)
    assert following is not None
    assert following > step
    assert every.due(following)
    assert following - step <= max(interval, 1) + 1
    assert not any(every.due(between) for between in range(max(step + 1, following - 5), following))


@given(st.integers(0, 1000))
def test_what_never_recurs_is_never_due(step: int) -> None:
    assert Every(None).following(step) is None
    assert not Every(None).due(step)


def agenda(per_epoch: int = 10, **keys: Any) -> Agenda:
    return Agenda.of(parse(keys), per_epoch)


def evaluations(made: Agenda) -> list[int]:
    return [step for step in range(made.total + 1) if made.evaluates(step)]


@pytest.mark.parametrize(("epochs", "steps"), [(1, 10), (2.5, 25), (0.1, 1), (0.25, 2), (3.999, 40)])
def test_a_budget_in_epochs_is_rounded_to_steps(epochs: float, steps: int) -> None:
    assert agenda(budget={"epochs": epochs}).total == steps


def test_a_budget_in_steps_is_that_many() -> None:
    assert agenda(budget={"steps": 7}).total == 7


def test_less_than_a_step_is_refused() -> None:
    with pytest.raises(
        RecipeError, match=r"budget\.epochs = 0\.01: that is less than one step, an epoch being 10 steps"
    ):
        agenda(budget={"epochs": 0.01})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"budget": {"epochs": 3}}, [10, 20, 30]),
        ({"budget": {"epochs": 2.5}}, [10, 20, 25]),
        ({"budget": {"steps": 25}}, [10, 20, 25]),
        ({"budget": {"steps": 25}, "evaluate": {"every": 8}}, [8, 16, 24, 25]),
        ({"budget": {"epochs": 1}, "evaluate": {"every": 0.25}}, [2, 5, 8, 10]),
        ({"budget": {"epochs": 2}, "evaluate": {"every": 1.5}}, [15, 20]),
        ({"budget": {"epochs": 2}, "evaluate": {"every": 7}}, [20]),
        ({"budget": {"steps": 3}, "evaluate": {"every": 0.001}}, [1, 2, 3]),
    ],
)
def test_evaluations_are_in_the_unit_of_the_budget_and_one_is_at_the_end(
    keys: dict[str, Any], expected: list[int]
) -> None:
    assert evaluations(agenda(**keys)) == expected


def test_checkpoints_are_in_the_unit_of_the_budget_and_rows_in_steps() -> None:
    by_epochs = agenda(budget={"epochs": 2}, checkpoint={"every": 0.5}, log={"every": 3})
    by_steps = agenda(budget={"steps": 20}, checkpoint={"every": 4}, log={"every": 3})
    assert [step for step in range(21) if by_epochs.save.due(step)] == [5, 10, 15, 20]
    assert [step for step in range(21) if by_steps.save.due(step)] == [4, 8, 12, 16, 20]
    assert [step for step in range(21) if by_epochs.log.due(step)] == [3, 6, 9, 12, 15, 18]
    assert agenda().save.following(0) is None
    assert agenda().log.following(0) is None


every = st.none() | st.floats(0.05, 30)


@given(st.floats(0.2, 30) | st.integers(1, 300), every, st.none() | st.integers(1, 50), every, st.integers(1, 40))
def test_nothing_that_is_due_is_passed_over(
    budget: float, evaluate: float | None, log: int | None, save: float | None, per_epoch: int
) -> None:
    made = agenda(
        per_epoch,
        budget={"steps": budget} if isinstance(budget, int) else {"epochs": max(budget, 1 / per_epoch)},
        evaluate={"every": evaluate},
        log={"every": log},
        checkpoint={"every": save},
    )
    stops, step = [], 0
    while step < made.total:
        stops.append(step := made.following(step))
    assert stops[-1] == made.total
    due = {s for s in range(1, made.total + 1) if made.evaluates(s) or made.log.due(s) or made.save.due(s)}
    assert set(stops) == due
