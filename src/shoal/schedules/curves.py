"""The table of all curves, and `factors`, which evaluates one over a block of steps, after its warm-up.

A step is counted from 0: the factor of step 0 is what the first update uses. Warm-up is linear and its first factor
is not zero: (step + 1) / warmup_steps, so that it is 1 at its last step. The curve then starts at step `warmup_steps`
and reaches its end at step `total`, one after the last update. That is torch's convention: without warm-up, `cosine`
equals `torch.optim.lr_scheduler.CosineAnnealingLR(T_max=total)` step by step. From step `total` on the end value holds.

A factor depends on its step only, not on the block in which it was computed: a resumed run sees the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from shoal.errors import RecipeError, unknown
from shoal.schedules import cycles, decays, drops
from shoal.schedules.span import LONGER, Factors, Span, Steps

Curve = Callable[..., Factors]
"""A curve takes the steps since the end of warm-up, a Span, and the keys of its entry in a recipe."""

CURVES: dict[str, Curve] = {
    "constant": decays.constant,
    "step": drops.step,
    "multi_step": drops.multi_step,
    "exponential": decays.exponential,
    "polynomial": decays.polynomial,
    "linear": decays.linear,
    "cosine": decays.cosine,
    "cosine_restarts": cycles.cosine_restarts,
    "cyclic": cycles.cyclic,
    "one_cycle": cycles.one_cycle,
    "wsd": decays.wsd,
    "inverse_sqrt": decays.inverse_sqrt,
    "demon": decays.demon,
    "plateau": decays.plateau,
}
"""Every schedule by its name in a recipe."""


def factors(
    name: str,
    parameters: Mapping[str, Any],
    first: int,
    last: int,
    total: int,
    *,
    per_unit: int = 1,
    base: float = 1.0,
    path: str = "schedules",
) -> Factors:
    """Return the factors of steps `first` to `last` (not included) as float64, shape [last - first].

    `parameters` are those of the recipe's entry; a `name` among them is ignored. `per_unit` is the number of steps in
    one unit of the budget (an epoch's under budget.epochs), in which intervals and milestones count; `base` is the
    value that the factors will multiply, on which `demon` depends; `path` is the place that messages name. Raises
    RecipeError for a name that is in no table, and for whatever reaches beyond the end of the training.

    >>> factors("cosine", {"warmup_steps": 2, "final": 0.1}, first=1, last=4, total=4).round(2).tolist()
    [1.0, 1.0, 0.55]
    >>> factors("step", {"every": 1}, first=0, last=6, total=6, per_unit=2).round(2).tolist()
    [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    if name not in CURVES:
        raise RecipeError(unknown("schedule", name, CURVES))
    keys = {key: value for key, value in parameters.items() if key != "name"}
    warmup, start = keys.pop("warmup_steps", 0), keys.pop("warmup_start", 0.0)
    if warmup > total:
        raise RecipeError(
            f"{path}.warmup_steps = {warmup} is longer than the training, which takes {total} steps: "
            f"expected at most {total}. Shorten the warm-up, {LONGER}."
        )
    span = Span(total=total, warmup=warmup, per_unit=per_unit, base=base, path=path)
    steps = np.arange(first, last, dtype=np.int64)
    curve = CURVES[name](np.clip(steps - warmup, 0, span.length), span, **keys)
    return np.where(steps < warmup, _ramp(steps, warmup, start) * curve, curve)


def _ramp(steps: Steps, warmup: int, start: float) -> Factors:
    """The share of a curve's first value that warm-up gives: `start` is where it stands one step before the first."""
    return start + (1.0 - start) * ((steps + 1) / max(warmup, 1))
