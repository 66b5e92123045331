"""The curves that go one way: from the base value to less of it, or, with a `final` above 1, to more.

Each takes the steps since the end of warm-up (`after`, from 0 to `span.length`) and returns factors. In the formulas s
is the share of the curve that lies behind, after / length, and f is `final`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from shoal.errors import RecipeError
from shoal.schedules.span import Factors, Span, Steps

HUNDREDTH = 0.01
"""Where an exponential ends that was given no gamma."""


def constant(after: Steps, span: Span) -> Factors:
    """1: the base value itself."""
    del span
    return np.ones(after.shape)


def plateau(after: Steps, span: Span, **keys: Any) -> Factors:
    """1: what a plateau lowers depends on metrics, and is the business of a controller (`training.plateau`)."""
    del span, keys
    return np.ones(after.shape)


def linear(after: Steps, span: Span, *, final: float = 0.0) -> Factors:
    """1 + (f - 1) s: a straight line.

    >>> linear(np.arange(5), Span(total=4), final=0.2).round(3).tolist()
    [1.0, 0.8, 0.6, 0.4, 0.2]
    """
    share = span.share(after)
    return (1.0 - share) + final * share


def polynomial(after: Steps, span: Span, *, power: float = 0.9, final: float = 0.0) -> Factors:
    """f + (1 - f) (1 - s)^power: the "poly" schedule (DeepLab, arXiv 1606.00915).

    >>> polynomial(np.arange(3), Span(total=2), power=2.0).tolist()
    [1.0, 0.25, 0.0]
    """
    return final + (1.0 - final) * np.power(1.0 - span.share(after), power)


def exponential(after: Steps, span: Span, *, gamma: float | None = None) -> Factors:
    """gamma^u, u being units of the budget since warm-up, fractions included; without a gamma, 0.01^s.

    >>> exponential(np.arange(3), Span(total=8), gamma=0.5).tolist()
    [1.0, 0.5, 0.25]
    """
    if gamma is None:
        return np.power(HUNDREDTH, span.share(after))
    with np.errstate(over="ignore"):  # values that are not finite are refused with their step, at composition
        return np.power(gamma, after / span.per_unit)


def cosine(after: Steps, span: Span, *, final: float = 0.0) -> Factors:
    """f + (1 - f) (1 + cos(pi s)) / 2: half a cosine (arXiv 1608.03983, equation 5, without a restart).

    >>> cosine(np.arange(5), Span(total=4)).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return final + (1.0 - final) * (1.0 + np.cos(np.pi * span.share(after))) / 2.0


def inverse_sqrt(after: Steps, span: Span, *, timescale_steps: int | None = None) -> Factors:
    """sqrt(T / (T + t)), t being steps since warm-up and T the timescale: by default the warm-up's length.

    That is the Transformer's schedule (arXiv 1706.03762, equation 3): lr falls as one over the root of the step. There
    the peak is one step; here, as with every curve, the first step after warm-up has it too.

    >>> inverse_sqrt(np.array([0, 4, 12]), Span(total=20, warmup=4)).round(3).tolist()
    [1.0, 0.707, 0.5]
    """
    timescale = max(span.warmup, 1) if timescale_steps is None else timescale_steps
    return np.sqrt(timescale / (timescale + after))


def demon(after: Steps, span: Span) -> Factors:
    """(1 - s) / ((1 - b) + b (1 - s)), b being the base value: decaying momentum (arXiv 1910.04952).

    The sum of all later shares that a gradient has in the updates, b / (1 - b), then falls in a straight line to 0.
    Raises RecipeError for a base value of 1 or more.

    >>> (0.9 * demon(np.array([0, 5, 10]), Span(total=10, base=0.9))).round(3).tolist()
    [0.9, 0.818, 0.0]
    """
    if not 0.0 <= span.base < 1.0:
        raise RecipeError(
            f"{span.path}.name = demon: the value that it multiplies is {span.base:g}: expected at least 0 and less "
            "than 1, as a momentum or beta1 is. Choose another schedule, such as linear."
        )
    left = 1.0 - span.share(after)
    return left / ((1.0 - span.base) + span.base * left)


def wsd(
    after: Steps,
    span: Span,
    *,
    decay: float = 0.2,
    shape: Literal["linear", "cosine", "sqrt"] = "sqrt",
    final: float = 0.0,
) -> Factors:
    """Warm-up, stable, decay: 1, and over the last share `decay` of the curve down to f (arXiv 2404.06395, section 4).

    With d the share of the decay that lies behind, what falls from 1 to 0 is 1 - d (linear), (1 + cos(pi d)) / 2
    (cosine) or 1 - sqrt(d) (sqrt: the best of those that arXiv 2405.18392 compares).

    >>> wsd(np.arange(7), Span(total=6), decay=0.5, shape="linear").round(3).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.667, 0.333, 0.0]
    """
    steps = max(round(decay * span.length), 1)
    behind = np.clip((after - max(span.length - steps, 0)) / steps, 0.0, 1.0)
    if shape == "linear":
        left = 1.0 - behind
    elif shape == "cosine":
        left = (1.0 + np.cos(np.pi * behind)) / 2.0
    else:
        left = 1.0 - np.sqrt(behind)
    return final + (1.0 - final) * left
