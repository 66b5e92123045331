"""Scheduled hyperparameters: their values are functions of the step alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InputError
from shoal.recipe.parse import parse
from shoal.training import ScheduledHypers
from shoal.training.hypers import scheduled

COSINE = {"name": "cosine", "warmup_steps": 5, "final": 0.1}
TOTAL = 60


def hypers(total: int = TOTAL, base: dict[str, float] | None = None, **schedules: Any) -> ScheduledHypers:
    recipe = parse({"schedules": schedules})
    return ScheduledHypers(recipe, {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.01, **(base or {})}, total)


@given(st.lists(st.integers(0, TOTAL), max_size=8))
def test_values_do_not_depend_on_how_steps_are_cut_into_blocks(cuts: list[int]) -> None:
    made = hypers(lr=COSINE, momentum={"name": "cosine"})
    edges = sorted({0, *cuts, TOTAL})
    blocks = [made.block(first, last) for first, last in pairwise(edges)]
    assert np.concatenate(blocks).tobytes() == made.block(0, TOTAL).tobytes()


def test_values_do_not_depend_on_where_in_a_long_block_a_step_is() -> None:
    made = hypers(total=5000, lr=COSINE)
    whole = made.block(0, 5000)
    for step in range(0, 5000, 7):
        assert made.block(step, step + 1).tobytes() == whole[step : step + 1].tobytes()


def test_a_block_has_steps_runs_and_names() -> None:
    made = hypers(momentum=COSINE)
    assert made.names == ("lr", "momentum")
    block = made.block(10, 14)
    assert block.shape == (4, 1, 2)
    assert block.dtype == np.float64
    assert block[:, 0, 0].tolist() == [0.3] * 4
    assert 0.1 * 0.9 < block[0, 0, 1] < 0.9


def test_lr_is_always_among_them_and_others_only_where_they_change() -> None:
    assert list(scheduled(parse({}))) == ["lr"]
    assert list(scheduled(parse({"schedules": {"weight_decay": {"warmup_steps": 3}}}))) == ["lr", "weight_decay"]


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.2), (4, 1.0), (5, 1.0), (59, 0.1 + 0.9 * (1 + np.cos(np.pi * 54 / 55)) / 2)]
)
def test_each_is_its_schedule_times_its_base(step: int, factor: float) -> None:
    made = hypers(lr=COSINE)
    assert made.block(step, step + 1)[0, 0, 0] == pytest.approx(0.3 * factor, rel=1e-12)


@pytest.mark.parametrize(("budget", "drop"), [({"epochs": 6}, 30), ({"steps": 60}, 3)])
def test_intervals_count_in_the_unit_of_the_budget(budget: dict[str, int], drop: int) -> None:
    recipe = parse({"schedules": {"lr": {"name": "multi_step", "milestones": [3]}}, "budget": budget})
    made = ScheduledHypers(recipe, {"lr": 1.0}, TOTAL, per_epoch=10)
    assert (np.flatnonzero(np.diff(made.block(0, TOTAL)[:, 0, 0])) + 1).tolist() == [drop]


def test_demon_depends_on_the_value_that_it_multiplies() -> None:
    beta = hypers(momentum={"name": "demon"}).block(0, TOTAL)[:, 0, 1]
    np.testing.assert_allclose(beta / (1 - beta), 9 * (1 - np.arange(TOTAL) / TOTAL), rtol=1e-12)


def test_swa_takes_the_learning_rate_over_at_its_start_point() -> None:
    recipe = parse(
        {"schedules": {"lr": "cosine"}, "average": {"name": "swa", "start": 0.5, "lr": 0.02, "anneal_steps": 10}}
    )
    made = ScheduledHypers(recipe, {"lr": 0.3}, TOTAL, per_epoch=6)
    lr = made.block(0, TOTAL)[:, 0, 0]
    plain = hypers(lr={"name": "cosine"}).block(0, TOTAL)[:, 0, 0]
    np.testing.assert_array_equal(lr[:31], plain[:31])
    assert lr[35] == pytest.approx((plain[30] + 0.02) / 2)
    np.testing.assert_array_equal(lr[40:], 0.02)
    assert (
        np.concatenate([made.block(step, step + 1) for step in range(TOTAL)]).tobytes()
        == made.block(0, TOTAL).tobytes()
    )


def test_the_learning_rate_of_swa_comes_at_once_without_a_way_to_it() -> None:
    recipe = parse({"average": {"name": "swa", "start": 0.5, "lr": 0.02}})
    lr = ScheduledHypers(recipe, {"lr": 0.3}, TOTAL, per_epoch=6).block(0, TOTAL)[:, 0, 0]
    assert lr.tolist() == [0.3] * 30 + [0.02] * 30


@pytest.mark.parametrize(
    ("schedules", "message"),
    [
        (
            {"momentum": {"name": "linear", "final": 1.2}},
            r"schedules\.momentum\.name = linear: at step 34 of 60 momentum would be 1\.002, the optimizer's being "
            r"0\.9: expected at least 0 and less than 1\. Change",
        ),
        (
            {"lr": {"name": "exponential", "gamma": 1e300}},
            r"schedules\.lr\.name = exponential: at step 2 .* would be inf",
        ),
        ({"lr": {"name": "step", "every": 61}}, r"schedules\.lr\.every = 61 is 61 steps, beyond the end"),
        ({"momentum": {"name": "cosine", "warmup_steps": 70}}, r"schedules\.momentum\.warmup_steps = 70 is longer"),
    ],
)
def test_what_leaves_its_bounds_is_refused_with_the_step(schedules: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hypers(**schedules)


@pytest.mark.parametrize("name", ["momentum", "weight_decay"])
def test_a_schedule_of_nothing_is_refused(name: str) -> None:
    message = (
        rf"schedules\.{name}\.name = linear: it would change nothing, .* optimizer's {name}, which is 0: .* leave out"
    )
    with pytest.raises(InputError, match=message):
        hypers(base={name: 0.0}, **{name: {"name": "linear"}})
    assert hypers(base={name: 0.0}).names == ("lr",)
