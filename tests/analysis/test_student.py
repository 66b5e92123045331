"""Quantiles of Student's t against the table that textbooks print, and against scipy where it is installed."""

from __future__ import annotations

import math

import pytest

from shoal.analysis.student import below, beta_share, quantile

# Degrees of freedom: t of 0.90, 0.95, 0.975, 0.99, 0.995 (NIST/SEMATECH e-Handbook, section 1.3.6.7.2).
TABLE = {
    1: (3.078, 6.314, 12.706, 31.821, 63.657),
    2: (1.886, 2.920, 4.303, 6.965, 9.925),
    3: (1.638, 2.353, 3.182, 4.541, 5.841),
    4: (1.533, 2.132, 2.776, 3.747, 4.604),
    5: (1.476, 2.015, 2.571, 3.365, 4.032),
    9: (1.383, 1.833, 2.262, 2.821, 3.250),
    10: (1.372, 1.812, 2.228, 2.764, 3.169),
    30: (1.310, 1.697, 2.042, 2.457, 2.750),
    100: (1.290, 1.660, 1.984, 2.364, 2.626),
}
LEVELS = (0.90, 0.95, 0.975, 0.99, 0.995)


@pytest.mark.parametrize("freedom", TABLE)
def test_quantiles_are_those_of_the_table(freedom: int) -> None:
    assert [round(quantile(level, freedom), 3) for level in LEVELS] == list(TABLE[freedom])


@pytest.mark.parametrize("freedom", [1, 2, 2.5, 7.31, 40, 1e4])
@pytest.mark.parametrize("level", [0.5, 0.51, 0.8, 0.975, 0.9999, 0.025])
def test_quantiles_are_scipys(freedom: float, level: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert quantile(level, freedom) == pytest.approx(stats.t.ppf(level, freedom), rel=1e-9, abs=1e-12)
    assert below(1.7, freedom) == pytest.approx(stats.t.cdf(1.7, freedom), rel=1e-9)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert quantile(0.975, 1e6) == pytest.approx(1.959963984540054, abs=1e-5)


def test_the_beta_function_is_symmetric_and_ends_at_0_and_1() -> None:
    assert beta_share(0.3, 2.5, 4) + beta_share(0.7, 4, 2.5) == pytest.approx(1, abs=1e-14)
    assert (beta_share(0, 2, 3), beta_share(1, 2, 3)) == (0, 1)


@pytest.mark.parametrize(("level", "freedom"), [(0, 3), (1, 3), (0.5, 0), (math.nan, 3)])
def test_what_is_no_probability_is_refused(level: float, freedom: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < probability < 1"):
        quantile(level, freedom)
