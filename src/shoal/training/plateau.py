"""What lowers a hyperparameter when a metric stops improving: a factor with a state, beside the pure curves.

The factor multiplies the schedule `plateau` (`hypers.ScheduledHypers`); the state is saved with the callbacks'. On the
same metrics it goes through the same values as `torch.optim.lr_scheduler.ReduceLROnPlateau`, but for torch's `eps`, the
least change that it makes: `min` says where reductions end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.recipe import Recipe
from shoal.recipe import schedule_parts as parts
from shoal.training.seams import Engine, Row


class Plateau:
    """Multiplies its factor by `part.factor` after more than `part.patience` evaluations without improvement."""

    def __init__(self, hyper: str, part: parts.Plateau, *, higher: bool, run: int = 0) -> None:
        self.name = f"plateau.{hyper}"
        self.part, self.higher, self.run = part, higher, run
        self.factor = 1.0
        self.reductions = 0
        self.best: float | None = None
        self.waited = 0
        self.cooling = 0

    def evaluated(self, engine: Engine, rows: Sequence[Row]) -> None:
        """Count evaluations since the last improvement, and lower the factor when there are too many."""
        value = rows[self.run].metrics.get(self.part.metric)
        if value is not None:  # there are no averaged weights yet
            self.observe(value)

    def observe(self, value: float) -> None:
        """Take in the metric of one evaluation; one that is not a number is no improvement."""
        if self._improved(value):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.cooling > 0:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited > self.part.patience:
            self.cooling, self.waited = self.part.cooldown, 0
            self._reduce()

    def stop(self) -> str | None:
        """Never ask to stop."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the factor, the best value, and what is counted."""
        return {key: getattr(self, key) for key in ("factor", "reductions", "best", "waited", "cooling")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.factor, self.reductions, self.best = state["factor"], state["reductions"], state["best"]
        self.waited, self.cooling = state["waited"], state["cooling"]

    def _reduce(self) -> None:
        lower = max(self.factor * self.part.factor, self.part.min)
        if lower < self.factor:
            self.factor = lower
            self.reductions += 1

    def _improved(self, value: float) -> bool:
        if self.best is None:
            return value > -math.inf if self.higher else value < math.inf
        margin, sign = self.part.threshold, 1.0 if self.higher else -1.0
        bar = self.best * (1.0 + sign * margin) if self.part.threshold_mode == "rel" else self.best + sign * margin
        return value > bar if self.higher else value < bar


def plateaus(recipe: Recipe, higher: Callable[[str, str], bool]) -> dict[str, Plateau]:
    """Return a controller for each hyperparameter that a recipe lowers on a plateau.

    `higher` takes the key path of a metric and its name, and says whether more of it is better; it raises RecipeError
    for one that is not measured.
    """
    found = {name: getattr(recipe.schedules, name) for name in type(recipe.schedules).model_fields}
    return {
        name: Plateau(name, part, higher=higher(f"schedules.{name}.metric", part.metric))
        for name, part in found.items()
        if isinstance(part, parts.Plateau)
    }
