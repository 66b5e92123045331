"""Warm-up and `factors`: their conventions, which old runs depend on, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InputError
from shoal.schedules import CURVES, factors


@given(
    total=st.integers(1, 3000),
    share=st.floats(0, 1),
    final=st.floats(0, 3),
    name=st.sampled_from(["constant", "cosine"]),
)
def test_the_bits_are_those_of_the_first_release(total: int, share: float, final: float, name: str) -> None:
    warmup, steps = int(share * total), np.arange(total)
    behind = np.clip((steps - warmup) / max(total - warmup, 1), 0.0, 1.0)
    curve = final + (1.0 - final) * (1.0 + np.cos(np.pi * behind)) / 2.0 if name == "cosine" else np.ones(total)
    expected = np.where(steps < warmup, (steps + 1) / max(warmup, 1), curve)
    keys = {"warmup_steps": warmup} | ({"final": final} if name == "cosine" else {})
    assert factors(name, keys, 0, total, total).tobytes() == expected.tobytes()


def torchs_cosine(total: int, final: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total, eta_min=final)
    values: list[float] = []
    for _ in range(total):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize(("total", "final"), [(1, 0.0), (10, 0.0), (937, 0.0), (50, 1.5)])
def test_cosine_equals_torchs_for_any_length(total: int, final: float) -> None:
    ours = factors("cosine", {"final": final, "warmup_steps": 0}, 0, total, total)
    np.testing.assert_allclose(ours, torchs_cosine(total, final), rtol=0, atol=1e-12)


def test_cosine_after_warm_up_is_torchs_cosine_over_the_rest() -> None:
    ours = factors("cosine", {"warmup_steps": 20, "final": 0.05}, 0, 120, 120)
    np.testing.assert_allclose(ours[20:], torchs_cosine(100, 0.05), rtol=0, atol=1e-12)


def test_warm_up_starts_above_zero_and_ends_where_the_curve_begins() -> None:
    for name in sorted(set(CURVES) - {"cyclic", "one_cycle"}):
        found = factors(name, {"warmup_steps": 4}, 0, 5, 100, base=0.5)
        np.testing.assert_array_equal(found, [0.25, 0.5, 0.75, 1.0, 1.0], err_msg=name)
    np.testing.assert_allclose(factors("cyclic", {"warmup_steps": 4}, 0, 5, 100), [0.0625, 0.125, 0.1875, 0.25, 0.25])


@pytest.mark.parametrize("start", [0.0, 0.1, 1.0])
def test_warm_up_is_torchs_linear_lr(start: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    first = start + (1 - start) / 30
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=first, total_iters=29)
    ours = factors("constant", {"warmup_steps": 30, "warmup_start": start}, 0, 60, 60)
    for step in range(60):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(ours[step], rel=1e-12), step
        optimizer.step()
        scheduler.step()


def test_a_warm_up_as_long_as_the_training_is_all_warm_up() -> None:
    for name in sorted(set(CURVES) - {"cyclic", "one_cycle"}):
        found = factors(name, {"warmup_steps": 5}, 0, 5, 5, base=0.5)
        np.testing.assert_allclose(found / found[-1], [0.2, 0.4, 0.6, 0.8, 1.0], err_msg=name)


def test_the_end_value_is_reached_at_total_and_holds() -> None:
    for name in ("cosine", "linear", "polynomial", "wsd", "one_cycle"):
        ends = factors(name, {"final": 0.2}, 9, 1000, 10)
        np.testing.assert_allclose(ends[1:], 0.2, rtol=1e-12)


def test_factors_are_float64_of_the_block() -> None:
    block = factors("cosine", {"name": "cosine", "warmup_steps": 3}, 5, 12, 20)
    assert block.dtype == np.float64
    assert block.shape == (7,)


def test_a_warm_up_longer_than_the_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"warmup_steps = 50 .* 40 steps: expected at most 40\. Shorten the warm-up"):
        factors("cosine", {"warmup_steps": 50}, 0, 40, 40)


def test_an_unknown_schedule_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown schedule 'cosin': did you mean 'cosine'"):
        factors("cosin", {}, 0, 1, 1)
