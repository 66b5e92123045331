"""What a curve knows of the training it runs in: how many steps there are, and in which unit its keys count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoal.errors import RecipeError

Steps = NDArray[np.int64]
Factors = NDArray[np.float64]

LONGER = "or train for longer (budget.epochs or budget.steps)"


@dataclass(frozen=True)
class Span:
    """The steps over which a curve runs: `warmup` of them are over when it begins, and it ends at `total`.

    Keys of schedules that are intervals or points in time count in the unit of the budget, as `evaluate.every` does:
    `per_unit` is the number of steps in one (1 under budget.steps). `base` is the value that the factors multiply,
    and `path` is where the schedule stands in a recipe, for messages.
    """

    total: int
    warmup: int = 0
    per_unit: int = 1
    base: float = 1.0
    path: str = "schedules"

    @property
    def length(self) -> int:
        """Steps of the curve itself."""
        return self.total - self.warmup

    def share(self, after: Steps) -> Factors:
        """Return which share of the curve lies behind, from 0 where it begins to 1 at the end of the training."""
        return after / max(self.length, 1)

    def interval(self, key: str, units: float | None, *, otherwise: float, limit: int) -> float:
        """Return an interval in steps, at least one; `otherwise` where none is given.

        Raises RecipeError for one that is longer than `limit` steps.
        """
        if units is None:
            return max(otherwise, 1.0)
        steps = max(units * self.per_unit, 1.0)
        if round(steps) > limit:
            raise RecipeError(self.too_long(key, units, steps, limit, "Shorten it"))
        return steps

    def too_long(self, key: str, value: float, steps: float, limit: int, remedy: str) -> str:
        """Return the sentence for a key that reaches beyond the end."""
        rest = f", {self.warmup:,} of them warm-up" if limit < self.total else ""
        return (
            f"{self.path}.{key} = {value:g} is {steps:,.6g} steps, beyond the end of the training, which takes "
            f"{self.total:,} steps{rest}: expected at most {limit:,} steps. {remedy}, {LONGER}."
        )
