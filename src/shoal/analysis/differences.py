"""Is one experiment better than another? The difference of a metric, with an interval that fits what is known.

Where seeds are shared, the difference is taken seed by seed: what a seed does to both (its order of examples) falls
out. Where they are not, by Welch; one run against several, by Student with the deviation of the several; one against
one, over the examples that an accuracy was measured on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shoal.analysis.intervals import UPPER, Mean, mean_of, wilson
from shoal.analysis.student import quantile

Results = Mapping[int, float]
"""The value of a metric by seed."""

ROUNDING = 1e-12
"""A deviation that is less of the values is that of their last bits."""
PAIRED, WELCH, ONE_OF_MANY, EXAMPLES, UNKNOWN = "paired", "welch", "one against several", "examples", "unknown"


@dataclass(frozen=True)
class Difference:
    """A minus B; without an interval where what is known does not allow one."""

    value: float
    kind: str
    n: tuple[int, int]
    """How many runs of each (paired: how many pairs, twice)."""
    low: float | None = None
    high: float | None = None
    examples: int | None = None

    @property
    def sign(self) -> int:
        """1 where A is surely higher, -1 where it is surely lower, 0 where that cannot be told."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def difference(a: Results, b: Results, *, examples: int | None = None) -> Difference | None:
    """Return how much higher a metric of A is than that of B, None where either has no finite value.

    Paired where at least two seeds are shared, and half of those of the smaller one. `examples` says on how many a
    share (an accuracy) was measured; it is used where each has one run.

    >>> found = difference({0: 0.95, 1: 0.94, 2: 0.96}, {0: 0.93, 1: 0.93, 2: 0.94})
    >>> found.kind, round(found.value, 4), round(found.low, 4), round(found.high, 4)
    ('paired', 0.0167, 0.0023, 0.031)
    """
    a, b = _finite(a), _finite(b)
    if not a or not b:
        return None
    shared = sorted(a.keys() & b.keys())
    if len(shared) >= 2 and 2 * len(shared) >= min(len(a), len(b)):
        return _paired([a[seed] - b[seed] for seed in shared])
    mean_a, mean_b = mean_of(a.values()), mean_of(b.values())
    assert mean_a is not None and mean_b is not None
    if mean_a.n > 1 and mean_b.n > 1:
        return welch(mean_a, mean_b)
    if mean_a.n > 1 or mean_b.n > 1:
        return _one_of_many(mean_a, mean_b)
    if examples:
        return newcombe(mean_a.mean, mean_b.mean, examples)
    return Difference(mean_a.mean - mean_b.mean, UNKNOWN, (1, 1))


def _paired(differences: list[float]) -> Difference:
    """Student's interval of the mean difference; none where all are the same: nothing says how they scatter."""
    found = mean_of(differences)
    assert found is not None
    n = (found.n, found.n)
    if _same(found.deviation, *differences):
        return Difference(found.mean, PAIRED, n)
    return Difference(found.mean, PAIRED, n, found.low, found.high)


def welch(a: Mean, b: Mean) -> Difference:
    """Return the difference of two means whose seeds are others, and whose deviations may be.

    Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947), with the degrees of freedom of Satterthwaite (1946).
    """
    value, n = a.mean - b.mean, (a.n, b.n)
    assert a.deviation is not None and b.deviation is not None
    error_a, error_b = a.deviation / math.sqrt(a.n), b.deviation / math.sqrt(b.n)
    error = math.hypot(error_a, error_b)
    if _same(error, a.mean, b.mean):
        return Difference(value, WELCH, n)
    freedom = 1 / ((error_a / error) ** 4 / (a.n - 1) + (error_b / error) ** 4 / (b.n - 1))
    room = quantile(UPPER, freedom) * error
    return Difference(value, WELCH, n, value - room, value + room)


def _one_of_many(a: Mean, b: Mean) -> Difference:
    """One run against several: Student's two samples, where the deviation of the several is that of the one too.

    Sokal and Rohlf, "Biometry", third edition (1995), section 9.5: a single observation compared with a sample.
    """
    value, several = a.mean - b.mean, max(a, b, key=lambda one: one.n)
    if several.deviation is None or _same(several.deviation, several.mean):
        return Difference(value, ONE_OF_MANY, (a.n, b.n))
    room = quantile(UPPER, several.n - 1) * several.deviation * math.sqrt(1 + 1 / several.n)
    return Difference(value, ONE_OF_MANY, (a.n, b.n), value - room, value + room)


def newcombe(a: float, b: float, examples: int) -> Difference:
    """Return the difference of two shares that were each measured once, on so many examples.

    Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
    (1998), method 10, from Wilson's intervals. Both were measured on the same examples, which is not made use of: the
    interval is wider than one that knew which examples each had right.
    """
    (low_a, high_a), (low_b, high_b) = wilson(a, examples), wilson(b, examples)
    value = a - b
    low, high = value - math.hypot(a - low_a, high_b - b), value + math.hypot(high_a - a, b - low_b)
    return Difference(value, EXAMPLES, (1, 1), low, high, examples)


def _same(scatter: float | None, *values: float) -> bool:
    """Whether a deviation is none: that of numbers which differ by rounding at most, or are too large to have one."""
    return scatter is None or not math.isfinite(scatter) or scatter <= ROUNDING * max(map(abs, values))


def _finite(results: Results) -> dict[int, float]:
    return {seed: value for seed, value in results.items() if math.isfinite(value)}
