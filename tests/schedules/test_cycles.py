"""Curves that rise as well as fall: the lecture's formula, momentum against lr, restarts, and what is refused."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from shoal.errors import InputError
from shoal.schedules import factors


def test_cyclic_is_the_lectures_formula_with_its_misprint_mended() -> None:
    low, high, half = 0.1, 1.0, 17
    ours = factors("cyclic", {"period": 2 * half, "initial": low, "peak": high}, 0, 300, 300)
    for step in range(300):
        cycle = math.floor(1 + step / (2 * half))
        x = abs(step / half - 2 * cycle + 1)
        assert ours[step] == pytest.approx(low + (high - low) * max(0, 1 - x), abs=1e-12)


def torchs_momentum(made: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler, found = made(optimizer), list[float]()
        for _ in range(1000):
            found.append(optimizer.param_groups[0]["momentum"])
            optimizer.step()
            scheduler.step()
    return found


@pytest.mark.parametrize("three_phase", [False, True])
def test_a_momentum_of_one_cycle_moves_against_lr(three_phase: bool) -> None:
    theirs = torchs_momentum(
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, 1000, base_momentum=0.85, max_momentum=0.95, three_phase=three_phase)
    )
    keys = {"initial": 1.0, "peak": 0.85 / 0.95, "final": 1.0, "three_phase": three_phase}
    np.testing.assert_allclose(0.95 * factors("one_cycle", keys, 0, 1000, 1000), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_a_cyclic_momentum_moves_against_lr(mode: Any) -> None:
    theirs = torchs_momentum(
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, 50, mode=mode, gamma=0.99, base_momentum=0.8, max_momentum=0.9)
    )
    keys: dict[str, Any] = {"initial": 1.0, "peak": 0.8 / 0.9, "period": 100, "mode": mode}
    keys |= {"gamma": 0.99} if mode == "exp_range" else {}
    np.testing.assert_allclose(0.9 * factors("cyclic", keys, 0, 1000, 1000), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("multiplier", "starts"), [(1, [100, 200]), (2, [43, 129])])
def test_without_a_period_three_fill_the_curve(multiplier: int, starts: list[int]) -> None:
    ours = factors("cosine_restarts", {"multiplier": multiplier}, 0, 300, 300)
    assert (np.flatnonzero(np.diff(ours) > 0) + 1).tolist() == starts
    assert ours[-1] < 0.001


def test_a_period_counts_in_the_unit_of_the_budget() -> None:
    epochs = factors("cosine_restarts", {"period": 2, "multiplier": 2}, 0, 70, 70, per_unit=5)
    steps = factors("cosine_restarts", {"period": 10, "multiplier": 2}, 0, 70, 70)
    np.testing.assert_array_equal(epochs, steps)
    assert (np.flatnonzero(np.diff(epochs) > 0) + 1).tolist() == [10, 30]


def test_the_decay_of_exp_range_counts_in_it_too() -> None:
    ours = factors("cyclic", {"mode": "exp_range", "gamma": 0.5, "period": 2, "initial": 0}, 0, 60, 60, per_unit=10)
    assert ours[[10, 30, 50]] == pytest.approx([0.5, 0.125, 0.03125])


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        (
            "cyclic",
            {"period": 9},
            r"lr\.period = 9 is 90 steps, .* 80 steps: expected at most 80 steps\. Shorten it, or",
        ),
        (
            "cosine_restarts",
            {"period": 8, "warmup_steps": 5},
            r"lr\.period = 8 is 80 steps, .* takes 80 steps, 5 of them warm-up: expected at most 75 steps",
        ),
        (
            "cyclic",
            {"gamma": 0.9},
            r"lr\.gamma = 0\.9: it is a key of mode exp_range, and the mode is triangular\. Leave",
        ),
        ("one_cycle", {"peak_at": 0.6, "three_phase": True}, r"lr\.peak_at = 0\.6: with three phases .* at most 0\.5"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, keys: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        factors(name, keys, 0, 1, 80, per_unit=10, path="schedules.lr")
