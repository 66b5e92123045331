"""Scheduled hyperparameters: their values are functions of the step alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.recipe.parse import parse
from shoal.training import ScheduledHypers
from shoal.training.hypers import scheduled

COSINE = {"name": "cosine", "warmup_steps": 5, "final": 0.1}
TOTAL = 60


def hypers(total: int = TOTAL, **schedules: Any) -> ScheduledHypers:
    recipe = parse({"schedules": schedules})
    return ScheduledHypers(recipe, {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.01}, total)


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
