"""Means, intervals, differences and their words: against scipy's or published numbers, and where nothing is known."""

from __future__ import annotations

import math
import random

import pytest

from shoal.analysis import Difference, difference, is_share_of, mean_of, verdict, wilson
from shoal.analysis.differences import EXAMPLES, ONE_OF_MANY, PAIRED, UNKNOWN, WELCH, newcombe

A = {0: 0.951, 1: 0.944, 2: 0.962, 3: 0.957, 4: 0.948}
B = {0: 0.939, 1: 0.936, 2: 0.948, 3: 0.941, 4: 0.940}


def moved(results: dict[int, float], by: int) -> dict[int, float]:
    """The same values under other seeds."""
    return {seed + by: value for seed, value in results.items()}


def test_a_mean_has_the_interval_of_student() -> None:
    stats = pytest.importorskip("scipy.stats")
    found = mean_of(A.values())
    assert found is not None
    assert found.deviation is not None
    low, high = stats.t.interval(0.95, 4, loc=found.mean, scale=found.deviation / math.sqrt(5))
    assert (found.n, found.low, found.high) == (5, pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(
    ("values", "told"),
    [([], None), ([math.nan, math.inf], None), ([2.0, math.nan], (2.0, 1, None)), ([1e308, 1.5e308], (1.25e308, 2))],
)
def test_a_mean_of_little_or_of_the_largest_numbers(values: list[float], told: tuple[float, ...] | None) -> None:
    found = mean_of(values)
    assert (found if told is None or found is None else (found.mean, found.n, found.deviation)[: len(told)]) == told


@pytest.mark.parametrize(
    ("right", "examples", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_the_published_one(right: int, examples: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    assert wilson(right / examples, examples) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("a", "b", "examples", "low", "high"),
    [(9, 3, 10, 0.1705, 0.8090), (6, 2, 7, 0.0582, 0.8062), (0, 0, 10, -0.2775, 0.2775), (10, 0, 10, 0.6075, 1.0)],
)
def test_the_interval_of_a_difference_of_shares(a: int, b: int, examples: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10."""
    found = newcombe(a / examples, b / examples, examples)
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_a_share_is_told_from_a_mean_by_its_count() -> None:
    assert [is_share_of(k / 360, 360) for k in (0, 1, 303, 360)] == [True] * 4
    assert [is_share_of(value, 360) for value in (0.9999, -1 / 360, 361 / 360)] == [False] * 3
    assert not is_share_of(0.0, 0)


@pytest.mark.parametrize(
    ("b", "kind"),
    [(B, PAIRED), (moved(B, 5), WELCH), (moved(B, 4), WELCH), (moved(B, 3), WELCH), ({0: 0.9}, ONE_OF_MANY)],
)
def test_the_interval_fits_which_seeds_there_are(b: dict[int, float], kind: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    a, found = A, difference(A, b)
    assert found is not None
    assert found.kind == kind
    if kind == PAIRED:
        interval = stats.ttest_rel(list(a.values()), list(b.values())).confidence_interval(0.95)
    elif kind == WELCH:
        interval = stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False).confidence_interval(0.95)
    else:
        interval = stats.ttest_ind(list(a.values()), list(b.values())).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_seeds_that_both_have_are_paired_and_others_left_out() -> None:
    found = difference({**A, 7: 0.1}, {**B, 8: 0.9})
    assert found == difference(A, B)
    assert found is not None
    assert found.n == (5, 5)


def test_pairing_sees_what_the_seeds_hide() -> None:
    """Seeds that scatter by 0.1 and a gain of 0.01 on each: only the paired interval is above 0."""
    noise = random.Random(0)
    base = {seed: noise.gauss(0.8, 0.1) for seed in range(5)}
    better = {seed: value + 0.01 + noise.gauss(0, 0.001) for seed, value in base.items()}
    paired, apart = difference(better, base), difference(better, moved(base, 10))
    assert paired is not None
    assert apart is not None
    assert (paired.sign, apart.sign) == (1, 0)


def test_intervals_hold_what_they_say_95_times_of_100() -> None:
    noise = random.Random(1)
    kinds = {PAIRED: 0, WELCH: 5}
    held = dict.fromkeys(kinds, 0)
    for _ in range(1500):
        for kind, by in kinds.items():
            a = {seed: noise.gauss(0.5, 0.02) for seed in range(4)}
            b = {seed + by: noise.gauss(0.4, 0.05) for seed in range(4)}
            found = difference(a, b)
            assert found is not None and found.low is not None and found.high is not None  # noqa: PT018
            held[kind] += found.low <= 0.1 <= found.high
    assert {kind: 0.93 <= count / 1500 <= 0.975 for kind, count in held.items()} == dict.fromkeys(kinds, True)


ONE = {0: 0.9}
BETTER = "by 0.0116 (95 % interval 0.0072 to 0.0160, 5 shared seeds)"
PAIR = "(95 % interval -0.00088 to 0.00088, 5 shared seeds)"
APART = "(95 % interval -0.010 to 0.010, 5 seeds each, not shared)"
SHARE = "(95 % interval 0.048 to 0.152, one run each, 360 examples: of the examples, not of seeds)"
SAME = "and nothing scatters to make an interval of (2 shared seeds); train more seeds"
NOTHING = "nothing to compare: A and B do not both have a finished run with a number"


@pytest.mark.parametrize(
    ("a", "b", "examples", "lower", "words"),
    [
        (A, B, None, False, f"A is better than B {BETTER}"),
        (A, B, None, True, f"B is better than A {BETTER}"),
        (B, A, None, False, f"B is better than A {BETTER}"),
        (A, {**A, 0: 0.95, 1: 0.945}, None, False, f"not distinguishable: A minus B is 0.00000 {PAIR}"),
        (A, moved(A, 5), None, False, f"not distinguishable: A minus B is 0.000 {APART}"),
        (ONE, {0: 0.8}, 360, False, f"A is better than B by 0.100 {SHARE}"),
        (ONE, {0: 0.8}, None, False, "not known: A is 0.1 higher than B, each measured once; train more seeds"),
        (ONE, ONE, None, False, "equal: A and B have the same number (one run each)"),
        (A, A, None, False, "equal: A and B have the same numbers (5 shared seeds)"),
        ({0: 1.0, 1: 0.9}, {0: 0.9, 1: 0.8}, None, False, f"not known: A is 0.1 higher than B, {SAME}"),
        ({}, B, None, False, NOTHING),
        ({0: math.nan}, ONE, None, False, NOTHING),
    ],
)
def test_a_difference_in_words(
    a: dict[int, float], b: dict[int, float], examples: int | None, lower: bool, words: str
) -> None:
    assert verdict("A", "B", difference(a, b, examples=examples), lower_is_better=lower) == words


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e9, 1e300])
def test_numbers_of_any_size_are_compared(scale: float) -> None:
    found = difference({s: v * scale for s, v in A.items()}, {s: v * scale for s, v in B.items()})
    assert found is not None
    assert found.sign == 1
    assert "A is better than B by" in verdict("A", "B", found, lower_is_better=False)


def test_what_has_no_interval_decides_nothing() -> None:
    assert Difference(0.5, UNKNOWN, (1, 1)).sign == 0
    assert difference(ONE, ONE, examples=10) == newcombe(0.9, 0.9, 10)
    assert newcombe(0.9, 0.9, 10).kind == EXAMPLES
