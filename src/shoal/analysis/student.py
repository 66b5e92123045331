"""Quantiles of Student's t distribution, for intervals of means over few seeds; nothing but `math`."""

from __future__ import annotations

import math
from functools import lru_cache

STEPS = 500
TINY = 1e-300
EXACT = 1e-15


@lru_cache(maxsize=256)
def quantile(probability: float, freedom: float) -> float:
    """Return the t below which a share `probability` of the distribution with `freedom` degrees of freedom lies.

    Degrees of freedom need not be whole (Welch). Student, "The probable error of a mean", Biometrika 6 (1908).

    >>> round(quantile(0.975, 4), 3), round(quantile(0.5, 3), 3)
    (2.776, 0.0)
    """
    if not (0 < probability < 1 and freedom > 0):
        raise ValueError(f"quantile({probability}, {freedom}): expected 0 < probability < 1 and freedom > 0")
    if probability < 0.5:
        return -quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while below(high, freedom) < probability and high < 1e15:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle, freedom) < probability else (low, middle)
        if high - low <= 1e-13 * high:
            break
    return (low + high) / 2


def below(t: float, freedom: float) -> float:
    """Return the share of the distribution that lies below `t`.

    >>> below(0.0, 5)
    0.5
    """
    tail = beta_share(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def beta_share(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    By the continued fraction of Press et al., "Numerical Recipes", third edition, section 6.4.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / a * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction, by Lentz's method."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            found *= c * d
        if abs(c * d - 1) < EXACT:
            break
    return found


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
