"""The curves that rise as well as fall: cosine with restarts, cyclic, one-cycle.

`initial`, `peak` and `final` are shares of the base value. A momentum is wont to move against the learning rate: it
gets an `initial` of 1 and a `peak` below it, so that there is no second meaning of a curve to know.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from shoal.errors import RecipeError
from shoal.schedules.decays import HUNDREDTH
from shoal.schedules.span import Factors, Span, Steps


def cosine_restarts(
    after: Steps, span: Span, *, period: float | None = None, multiplier: int = 2, final: float = 0.0
) -> Factors:
    """f + (1 - f) (1 + cos(pi p)) / 2, p being the share of the present period that lies behind.

    Each period is `multiplier` times as long as the one before (arXiv 1608.03983, equation 5). Without a first period
    given, three of them fill the curve.

    >>> cosine_restarts(np.arange(6), Span(total=6), period=2, multiplier=2).round(3).tolist()
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146]
    """
    third = span.length / (1 + multiplier + multiplier**2)
    first = span.interval("period", period, otherwise=third, limit=span.length)
    behind, present = _period(after, span.length, first, multiplier)
    return final + (1.0 - final) * (1.0 + np.cos(np.pi * np.clip(behind / present, 0.0, 1.0))) / 2.0


def cyclic(
    after: Steps,
    span: Span,
    *,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    period: float | None = None,
    initial: float = 0.25,
    peak: float = 1.0,
    peak_at: float = 0.5,
    gamma: float | None = None,
) -> Factors:
    """initial + (peak - initial) max(0, 1 - x) scale: triangles between two values (arXiv 1506.01186).

    With t the steps since warm-up and h half a period, x = |t / h - 2 cycle + 1| and cycle = floor(1 + t / (2 h)). (The
    lecture writes floor((1 + t) / (2 h)), a misprint: x would then hardly ever be below 1, and the value stay at its
    lowest. Smith's own formula, and torch's CyclicLR, are this one.) The scale is 1 (triangular), half as much with
    each further period (triangular2), or gamma^u, u being units of the budget since warm-up (exp_range; without a
    gamma, 0.01 at the end). `peak_at` moves the peak within the period. Without a period given, four fill the curve.

    >>> cyclic(np.arange(5), Span(total=8), period=4, initial=0.2).round(3).tolist()
    [0.2, 0.6, 1.0, 0.6, 0.2]
    """
    if gamma is not None and mode != "exp_range":
        raise RecipeError(
            f"{span.path}.gamma = {gamma:g}: it is a key of mode exp_range, and the mode is {mode}. "
            f"Leave it out, or give {span.path}.mode=exp_range."
        )
    cycles = after / span.interval("period", period, otherwise=span.length / 4, limit=span.length)
    behind = cycles - np.floor(cycles)
    height = np.where(behind <= peak_at, behind / peak_at, (1.0 - behind) / (1.0 - peak_at))
    if mode == "triangular2":
        height = height * np.power(0.5, np.floor(cycles))
    elif mode == "exp_range" and gamma is not None:
        height = height * np.power(gamma, after / span.per_unit)
    elif mode == "exp_range":
        height = height * np.power(HUNDREDTH, span.share(after))
    return _between(initial, peak, height)


def one_cycle(
    after: Steps,
    span: Span,
    *,
    peak_at: float = 0.3,
    initial: float = 0.04,
    peak: float = 1.0,
    final: float = 4e-6,
    shape: Literal["cosine", "linear"] = "cosine",
    three_phase: bool = False,
) -> Factors:
    """From `initial` up to `peak` and down to `final` (arXiv 1708.07120), by way of `initial` with `three_phase`.

    The steps are those of torch's OneCycleLR: the peak is at peak_at * length - 1, the end at the last update,
    length - 1; with three phases `initial` is back at 2 * peak_at * length - 2.

    >>> one_cycle(np.arange(5), Span(total=5), peak_at=0.6, initial=0.2, final=0.0, shape="linear").round(3).tolist()
    [0.2, 0.6, 1.0, 0.5, 0.0]
    """
    if three_phase and peak_at > 0.5:
        raise RecipeError(
            f"{span.path}.peak_at = {peak_at:g}: with three phases the way down is as long as the way up, and both "
            "have to fit: expected at most 0.5."
        )
    points = [(0.0, initial), (peak_at * span.length - 1, peak), (float(span.length - 1), final)]
    if three_phase:
        points.insert(2, (2 * peak_at * span.length - 2, initial))
    values = np.full(after.shape, final)
    for (start, low), (end, high) in reversed(list(pairwise(points))):
        share: Factors = np.ones(after.shape)
        if end > start:
            share = np.clip((after.astype(np.float64) - start) / (end - start), 0.0, 1.0)
        if shape == "cosine":
            share = (1.0 - np.cos(np.pi * share)) / 2.0
        values = np.where(after <= end, _between(low, high, share), values)
    return values


def _between(low: float, high: float, share: Factors) -> Factors:
    return low * (1.0 - share) + high * share


def _period(after: Steps, length: int, first: float, multiplier: int) -> tuple[Factors, Factors]:
    """Return how many steps of the present period are behind, and how long it is."""
    if multiplier == 1:
        return after - np.floor(after / first) * first, np.full(after.shape, first)
    starts, lengths = [0.0], [float(first)]
    while starts[-1] + lengths[-1] <= length:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * multiplier)
    begins, long = np.array(starts, dtype=np.float64), np.array(lengths, dtype=np.float64)
    present = np.searchsorted(begins, after, side="right") - 1
    return after - begins[present], long[present]
