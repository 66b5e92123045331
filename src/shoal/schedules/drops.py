"""The curves that jump: times gamma at each of some steps, constant between them.

The steps are counted from the beginning of the training, warm-up included, as in the recipes that made them known
(arXiv 1706.02677: five epochs of warm-up, and drops after 30, 60 and 80). They are whole steps: round(k * interval),
as with `evaluate.every`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from shoal.errors import RecipeError
from shoal.schedules.span import LONGER, Factors, Span, Steps

OF_RESNET = (0.5, 0.75)
"""Shares of the training at which a drop comes where no milestone is given: those of arXiv 1512.03385, section 4.2."""


def step(after: Steps, span: Span, *, every: float | None = None, gamma: float = 0.1) -> Factors:
    """gamma^k, k being the number of intervals that are over; without an interval, a third of the training.

    >>> step(np.arange(6), Span(total=6), every=2, gamma=0.5).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    interval = span.interval("every", every, otherwise=span.total / 3, limit=span.total)
    return _power(gamma, passed(after + span.warmup, interval))


def multi_step(after: Steps, span: Span, *, milestones: Sequence[float] = (), gamma: float = 0.1) -> Factors:
    """gamma^k, k being the number of milestones that are over; without any, half and three quarters of the training.

    >>> multi_step(np.arange(6), Span(total=6), milestones=(1, 4), gamma=0.5).tolist()
    [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    """
    marks = [round(share * span.total) for share in OF_RESNET]
    if milestones:
        _refuse_disorder(milestones, span)
        marks = [round(milestone * span.per_unit) for milestone in milestones]
    return _power(gamma, np.searchsorted(marks, after + span.warmup, side="right"))


def passed(steps: Steps, interval: float) -> Steps:
    """Return how many of the points round(k * interval), k = 1, 2, ..., are at or before each step.

    >>> passed(np.arange(6), 2.5).tolist()
    [0, 0, 1, 1, 1, 2]
    """
    k = np.floor(steps / interval)
    k += np.rint((k + 1) * interval) <= steps
    return k.astype(np.int64)


def _power(gamma: float, times: Steps) -> Factors:
    with np.errstate(over="ignore"):  # values that are not finite are refused with their step, at composition
        return np.power(gamma, times)


def _refuse_disorder(milestones: Sequence[float], span: Span) -> None:
    if milestones[0] <= 0 or any(later <= earlier for earlier, later in pairwise(milestones)):
        written = ", ".join(f"{milestone:g}" for milestone in milestones)
        raise RecipeError(
            f"{span.path}.milestones = [{written}]: expected numbers greater than 0, each larger than the one before. "
            "Write them in order, each once."
        )
    last = milestones[-1] * span.per_unit
    if round(last) > span.total:
        raise RecipeError(span.too_long("milestones", milestones[-1], last, span.total, "Leave that milestone out"))
    if round(last) == span.total:
        raise RecipeError(
            f"{span.path}.milestones = {milestones[-1]:g} is {last:,.6g} steps, all of the training: that drop would "
            f"come after the last update: expected less than {span.total:,} steps. Leave that milestone out, {LONGER}."
        )
