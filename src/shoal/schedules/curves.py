"""The curves, the table of their names, and `factors`, which evaluates one over a block of steps.

A step is counted from 0: the factor of step 0 is what the first update uses. Warm-up is linear and its first factor
is not zero: (step + 1) / warmup_steps, so that it is 1 at its last step. The curve then starts at 1 at step
`warmup_steps` and reaches its end at step `total`, one after the last update. That is torch's convention: without
warm-up, `cosine` equals `torch.optim.lr_scheduler.CosineAnnealingLR(T_max=total)` step by step. From step `total` on
the end value holds.

A factor depends on its step only, not on the block in which it was computed: a resumed run sees the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.errors import RecipeError, unknown

Steps = NDArray[np.int64]
Factors = NDArray[np.float64]


def constant(steps: Steps, *, total: int, warmup_steps: int = 0) -> Factors:
    """Return the factors of the base value itself, after warm-up.

    >>> constant(np.arange(4), total=4, warmup_steps=2).tolist()
    [0.5, 1.0, 1.0, 1.0]
    """
    return _warmed(steps, np.ones(steps.shape), total=total, warmup_steps=warmup_steps)


def cosine(steps: Steps, *, total: int, warmup_steps: int = 0, final: float = 0.0) -> Factors:
    """Return the factors of half a cosine from 1 to `final`, after warm-up (arXiv 1608.03983, equation 5, no restart).

    >>> cosine(np.arange(6), total=4).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    share = np.clip((steps - warmup_steps) / max(total - warmup_steps, 1), 0.0, 1.0)
    curve = final + (1.0 - final) * (1.0 + np.cos(np.pi * share)) / 2.0
    return _warmed(steps, curve, total=total, warmup_steps=warmup_steps)


CURVES: dict[str, Callable[..., Factors]] = {"constant": constant, "cosine": cosine}
"""Every schedule by its name in a recipe."""


def factors(name: str, parameters: Mapping[str, Any], first: int, last: int, total: int) -> Factors:
    """Return the factors of steps `first` to `last` (not included) as float64, shape [last - first].

    `parameters` are those of the recipe's entry; a `name` among them is ignored. Raises RecipeError for a name that is
    in no table, and for a warm-up that is longer than the whole training.

    >>> factors("cosine", {"warmup_steps": 2, "final": 0.1}, first=1, last=4, total=4).round(2).tolist()
    [1.0, 1.0, 0.55]
    """
    if name not in CURVES:
        raise RecipeError(unknown("schedule", name, CURVES))
    keywords = {key: value for key, value in parameters.items() if key != "name"}
    return CURVES[name](np.arange(first, last, dtype=np.int64), total=total, **keywords)


def _warmed(steps: Steps, curve: Factors, *, total: int, warmup_steps: int) -> Factors:
    if warmup_steps > total:
        raise RecipeError(
            f"warmup_steps = {warmup_steps} is longer than the training, which takes {total} steps: "
            f"expected at most {total}. Shorten the warm-up, or train for longer (budget.epochs or budget.steps)."
        )
    return np.where(steps < warmup_steps, (steps + 1) / max(warmup_steps, 1), curve)
