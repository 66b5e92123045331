"""The curves against torch's schedulers, their conventions, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InputError
from shoal.schedules import CURVES, constant, cosine, factors


def torch_factors(total: int, final: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total, eta_min=final)
    values: list[float] = []
    for _ in range(total):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize(("total", "final"), [(1, 0.0), (10, 0.0), (937, 0.0), (100, 0.1), (50, 1.5)])
def test_cosine_equals_torch_step_by_step(total: int, final: float) -> None:
    ours = factors("cosine", {"final": final, "warmup_steps": 0}, 0, total, total)
    np.testing.assert_allclose(ours, torch_factors(total, final), rtol=0, atol=1e-12)


def test_cosine_after_warm_up_is_torchs_cosine_over_the_rest() -> None:
    ours = factors("cosine", {"warmup_steps": 20, "final": 0.05}, 0, 120, 120)
    np.testing.assert_allclose(ours[20:], torch_factors(100, 0.05), rtol=0, atol=1e-12)


def test_warm_up_starts_above_zero_and_ends_at_one() -> None:
    expected = [0.25, 0.5, 0.75, 1.0, 1.0]
    for name in CURVES:
        np.testing.assert_array_equal(factors(name, {"warmup_steps": 4}, 0, 5, 100), expected)


def test_the_end_value_is_reached_at_total_and_holds() -> None:
    ends = cosine(np.array([9, 10, 11, 1000]), total=10, final=0.2)
    assert ends[0] > 0.2
    np.testing.assert_allclose(ends[1:], 0.2)


def test_constant_is_one() -> None:
    np.testing.assert_array_equal(constant(np.arange(5), total=5), np.ones(5))


def test_factors_are_float64_of_the_block() -> None:
    block = factors("cosine", {"name": "cosine", "warmup_steps": 3}, 5, 12, 20)
    assert block.dtype == np.float64
    assert block.shape == (7,)


def test_a_warm_up_as_long_as_the_training_is_all_warm_up() -> None:
    for name in CURVES:
        np.testing.assert_allclose(factors(name, {"warmup_steps": 5}, 0, 5, 5), [0.2, 0.4, 0.6, 0.8, 1.0])


@given(
    total=st.integers(1, 5000),
    warmup=st.floats(0, 1),
    final=st.floats(0, 2),
    cut=st.floats(0, 1),
    name=st.sampled_from(sorted(CURVES)),
)
def test_a_factor_does_not_depend_on_its_block(total: int, warmup: float, final: float, cut: float, name: str) -> None:
    parameters = {"warmup_steps": int(warmup * total)} | ({"final": final} if name == "cosine" else {})
    middle = int(cut * total)
    whole = factors(name, parameters, 0, total, total)
    parts = [factors(name, parameters, 0, middle, total), factors(name, parameters, middle, total, total)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert np.isfinite(whole).all()
    assert (whole > 0).all() or final == 0 or name == "constant"
    assert whole.max() <= max(1.0, final) + 1e-12


def test_a_warm_up_longer_than_the_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"warmup_steps = 50 .* 40 steps: expected at most 40\. Shorten the warm-up"):
        factors("cosine", {"warmup_steps": 50}, 0, 40, 40)


def test_an_unknown_schedule_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown schedule 'cosin': did you mean 'cosine'"):
        factors("cosin", {}, 0, 1, 1)
