"""How well a number is known: the mean over seeds with its interval, and an accuracy that was measured once.

All intervals are of 95 %. They are about what varied: over seeds about the seeds, over examples about the examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from shoal.analysis.student import quantile

LEVEL = 0.95
UPPER = (1 + LEVEL) / 2
NORMAL = NormalDist().inv_cdf(UPPER)


@dataclass(frozen=True)
class Mean:
    """A mean with the sample deviation (n - 1) and the interval of the mean; of one value neither is known."""

    mean: float
    n: int
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


def mean_of(values: Iterable[float]) -> Mean | None:
    """Return the mean of finite values, None where there are none.

    The interval is Student's: mean ± t(0.975, n - 1) deviation / sqrt(n).

    >>> found = mean_of([0.90, 0.92, 0.94])
    >>> [round(value, 4) for value in (found.mean, found.deviation, found.low, found.high)]
    [0.92, 0.02, 0.8703, 0.9697]
    """
    known = [value for value in values if math.isfinite(value)]
    n = len(known)
    if not n:
        return None
    mean = math.fsum(value / n for value in known)
    if n == 1:
        return Mean(mean, 1)
    deviation = math.hypot(*(value - mean for value in known)) / math.sqrt(n - 1)
    room = quantile(UPPER, n - 1) * deviation / math.sqrt(n)
    return Mean(mean, n, deviation, mean - room, mean + room)


def wilson(share: float, examples: int) -> tuple[float, float]:
    """Return the interval of a share that was measured on so many examples.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    >>> [round(value, 4) for value in wilson(0.9, 100)]
    [0.8256, 0.9448]
    """
    squared = NORMAL * NORMAL
    middle = (share + squared / (2 * examples)) / (1 + squared / examples)
    inside = share * (1 - share) / examples + squared / (4 * examples * examples)
    room = NORMAL / (1 + squared / examples) * math.sqrt(inside)
    return max(0.0, middle - room), min(1.0, middle + room)


def is_share_of(value: float, examples: int) -> bool:
    """Return whether a number is a whole count of examples divided by their number, as an accuracy is.

    >>> is_share_of(303 / 360, 360), is_share_of(0.84, 360)
    (True, False)
    """
    count = value * examples
    return examples > 0 and 0 <= value <= 1 and abs(count - round(count)) <= 1e-6 * max(1.0, count)
