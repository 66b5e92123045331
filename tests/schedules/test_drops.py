"""Drops come at whole steps, counted from the beginning, in the unit of the budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InputError
from shoal.schedules import factors
from shoal.schedules.drops import passed


@given(st.floats(1, 60), st.integers(0, 400))
def test_points_are_passed_where_they_are_rounded_to(interval: float, step: int) -> None:
    expected = sum(round(k * interval) <= step for k in range(1, 500))
    assert passed(np.array([step]), interval) == expected


def test_an_interval_in_epochs_is_torchs_step_lr_called_once_an_epoch() -> None:
    ours = factors("step", {"every": 3, "gamma": 0.5}, 0, 130, 130, per_unit=13)
    np.testing.assert_array_equal(ours, 0.5 ** (np.arange(130) // 13 // 3))


def test_half_an_epoch_is_an_interval_too() -> None:
    ours = factors("step", {"every": 0.5, "gamma": 0.5}, 0, 14, 14, per_unit=7)
    assert np.flatnonzero(np.diff(ours)).tolist() == [3, 6, 9]  # 3.5 rounds to 4, 10.5 to 10


def test_warm_up_does_not_move_a_milestone() -> None:
    plain, warm = [
        factors("multi_step", {"milestones": [30, 60], "warmup_steps": warmup}, 0, 90, 90) for warmup in (0, 5)
    ]
    np.testing.assert_array_equal(plain[5:], warm[5:])
    assert np.flatnonzero(np.diff(warm)).tolist() == [0, 1, 2, 3, 29, 59]


def test_a_milestone_in_warm_up_is_where_warm_up_leads() -> None:
    ours = factors("multi_step", {"milestones": [2], "warmup_steps": 4, "gamma": 0.1}, 0, 6, 6)
    np.testing.assert_allclose(ours, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_without_keys_drops_come_at_shares_of_the_training() -> None:
    assert np.flatnonzero(np.diff(factors("step", {}, 0, 90, 90))).tolist() == [29, 59]
    assert np.flatnonzero(np.diff(factors("multi_step", {}, 0, 100, 100))).tolist() == [49, 74]


def test_a_milestone_before_the_last_update_is_the_last_that_changes_anything() -> None:
    assert factors("multi_step", {"milestones": [9]}, 0, 10, 10).tolist() == [1.0] * 9 + [0.1]


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        (
            "step",
            {"every": 8},
            r"lr\.every = 8 is 104 steps, beyond .* takes 100 steps: expected at most 100 steps\. Sho",
        ),
        ("multi_step", {"milestones": [2, 9]}, r"lr\.milestones = 9 is 117 steps, beyond .* at most 100 steps\. Leave"),
        (
            "multi_step",
            {"milestones": [2, 100 / 13]},
            r"lr\.milestones = 7\.69231 is 100 steps, all of .* after the last update: expected less than 100 .* Leave",
        ),
        (
            "multi_step",
            {"milestones": [3, 2]},
            r"lr\.milestones = \[3, 2\]: .* larger than the one before\. Write them",
        ),
        ("multi_step", {"milestones": [0, 2]}, r"lr\.milestones = \[0, 2\]: expected numbers greater than 0"),
    ],
)
def test_what_is_beyond_the_end_or_out_of_order_is_refused(name: str, keys: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        factors(name, keys, 0, 1, 100, per_unit=13, path="schedules.lr")
