"""The curves that torch does not have, against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shoal.errors import InputError
from shoal.schedules import factors


@pytest.mark.parametrize("base", [0.0, 0.5, 0.9, 0.99])
def test_demon_lets_the_sum_of_later_shares_fall_in_a_straight_line(base: float) -> None:
    beta = base * factors("demon", {}, 0, 201, 200, base=base)
    left = 1 - np.arange(201) / 200
    np.testing.assert_allclose(beta / (1 - beta), left * base / (1 - base), atol=1e-12)


def test_demon_needs_a_base_below_one() -> None:
    with pytest.raises(InputError, match=r"schedules\.lr\.name = demon: the value that it multiplies is 3: .* linear"):
        factors("demon", {}, 0, 1, 10, base=3.0, path="schedules.lr")


def test_inverse_sqrt_is_the_transformers_one_step_later() -> None:
    total, warmup, width = 400, 40, 64
    ours = factors("inverse_sqrt", {"warmup_steps": warmup}, 0, total, total)
    peak = width**-0.5 * warmup**-0.5
    for step in range(total):
        number = step + 1 if step < warmup else step
        expected = width**-0.5 * min(number**-0.5, number * warmup**-1.5)
        assert peak * ours[step] == pytest.approx(expected, rel=1e-12)


def test_inverse_sqrt_takes_a_timescale_of_its_own() -> None:
    ours = factors("inverse_sqrt", {"timescale_steps": 10}, 0, 31, 100)
    assert ours[[0, 10, 30]] == pytest.approx([1.0, 1 / math.sqrt(2), 0.5])


@pytest.mark.parametrize(
    ("shape", "middle"),
    [("linear", 0.5), ("cosine", 0.5), ("sqrt", 1 - math.sqrt(0.5))],
    ids=["linear", "cosine", "sqrt"],
)
def test_wsd_is_stable_until_its_last_part(shape: str, middle: float) -> None:
    ours = factors("wsd", {"warmup_steps": 20, "decay": 0.25, "shape": shape, "final": 0.1}, 0, 101, 100)
    np.testing.assert_array_equal(ours[20:81], 1.0)  # a quarter of the 80 steps after warm-up: the last 20
    assert (np.diff(ours[80:]) < 0).all()
    assert ours[[90, 100]] == pytest.approx([0.1 + 0.9 * middle, 0.1])


def test_wsd_without_a_stable_part_is_a_line() -> None:
    wsd, line = [
        factors(name, keys, 0, 50, 50) for name, keys in (("wsd", {"decay": 1, "shape": "linear"}), ("linear", {}))
    ]
    np.testing.assert_allclose(wsd, line, atol=1e-15)


def test_exponential_ends_at_a_hundredth_or_falls_by_gamma_each_epoch() -> None:
    assert factors("exponential", {}, 0, 201, 200)[[0, 100, 200]] == pytest.approx([1, 0.1, 0.01])
    ours = factors("exponential", {"gamma": 0.8}, 0, 50, 50, per_unit=10)
    assert ours[[0, 5, 10, 30]] == pytest.approx([1, 0.8**0.5, 0.8, 0.8**3])


def test_a_power_may_overflow_without_a_warning() -> None:
    assert factors("exponential", {"gamma": 2.0}, 1999, 2000, 2000) == np.inf
