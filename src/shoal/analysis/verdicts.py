"""What a difference means, in a sentence: better, or not distinguishable, by how much, and by what evidence."""

from __future__ import annotations

import math

from shoal.analysis.differences import EXAMPLES, PAIRED, UNKNOWN, WELCH, Difference

MOST_PLACES = 8


def verdict(a: str, b: str, found: Difference | None, *, lower_is_better: bool) -> str:
    """Return what a difference A - B says of the two.

    >>> found = Difference(0.012, PAIRED, (5, 5), 0.004, 0.020)
    >>> verdict("A", "B", found, lower_is_better=False)
    'A is better than B by 0.0120 (95 % interval 0.0040 to 0.0200, 5 shared seeds)'
    >>> verdict("A", "B", found, lower_is_better=True)
    'B is better than A by 0.0120 (95 % interval 0.0040 to 0.0200, 5 shared seeds)'
    """
    if found is None:
        return f"nothing to compare: {a} and {b} do not both have a finished run with a number"
    if found.low is None or found.high is None:
        return _without_interval(a, b, found)
    if found.sign:
        a_wins = (found.sign > 0) != lower_is_better
        first, second = (a, b) if a_wins else (b, a)
        size, *ends = numbers(abs(found.value), *sorted((abs(found.low), abs(found.high))))
        return f"{first} is better than {second} by {size} (95 % interval {ends[0]} to {ends[1]}, {_evidence(found)})"
    value, low, high = numbers(found.value, found.low, found.high)
    return f"not distinguishable: {a} minus {b} is {value} (95 % interval {low} to {high}, {_evidence(found)})"


def numbers(value: float, low: float, high: float) -> list[str]:
    """Return a value and the ends of its interval with as many decimals as the interval's width gives sense to.

    >>> numbers(0.0123456, 0.0041, 0.0205), numbers(12.3456, 9.0, 15.7)
    (['0.0123', '0.0041', '0.0205'], ['12.3', '9.0', '15.7'])
    """
    half = abs(high - low) / 2
    if not half or not math.isfinite(half):
        return [f"{one:.4g}" for one in (value, low, high)]
    if half >= 1e6 or half < 10.0**-MOST_PLACES:
        return [f"{one:.3g}" for one in (value, low, high)]
    places = min(MOST_PLACES, max(0, 1 - math.floor(math.log10(half))))
    return [f"{one:.{places}f}" for one in (value, low, high)]


def _without_interval(a: str, b: str, found: Difference) -> str:
    if not found.value:
        return f"equal: {a} and {b} have the same number{'' if found.n == (1, 1) else 's'} ({_evidence(found)})"
    higher, other = (a, b) if found.value > 0 else (b, a)
    size = f"{abs(found.value):.4g}"
    if found.kind == UNKNOWN:
        return f"not known: {higher} is {size} higher than {other}, each measured once; train more seeds"
    return (
        f"not known: {higher} is {size} higher than {other}, and nothing scatters to make an interval of "
        f"({_evidence(found)}); train more seeds"
    )


def _evidence(found: Difference) -> str:
    a, b = found.n
    if found.kind == PAIRED:
        return f"{a} shared seeds"
    if found.kind == WELCH:
        return f"{a} and {b} seeds, not shared" if a != b else f"{a} seeds each, not shared"
    if found.kind == EXAMPLES:
        return f"one run each, {found.examples:,} examples: of the examples, not of seeds"
    return f"{a} and {b} runs" if (a, b) != (1, 1) else "one run each"
