"""At which steps something is due: evaluations, extra rows, checkpoints, the end. Pure functions of the recipe.

Intervals are in the unit of the budget: epochs where it is given in epochs, steps where it is given in steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.errors import RecipeError
from shoal.recipe import Recipe


@dataclass(frozen=True)
class Every:
    """Steps at which something recurs: round(k * interval) for k = 1, 2, ... and nothing at 0.

    >>> Every(2.5).following(0), Every(2.5).following(2), Every(None).following(0)
    (2, 5, None)
    """

    interval: float | None

    def following(self, step: int) -> int | None:
        """Return the first step after `step` at which this is due."""
        if self.interval is None:
            return None
        k = int(step / self.interval)
        while round(k * self.interval) <= step:
            k += 1
        return round(k * self.interval)

    def latest(self, step: int) -> int:
        """Return the last step up to `step` at which this was due; 0 where it was not yet.

        >>> Every(2.5).latest(6), Every(2.5).latest(1)
        (5, 0)
        """
        if self.interval is None:
            return 0
        k = int(step / self.interval) + 1
        while round(k * self.interval) > step:
            k -= 1
        return round(k * self.interval)

    def due(self, step: int) -> bool:
        """Return whether this is due once `step` steps are done."""
        return step > 0 and self.following(step - 1) == step


@dataclass(frozen=True)
class Agenda:
    """When what is due, counted in steps done."""

    total: int
    per_epoch: int
    evaluate: Every
    log: Every
    save: Every
    point: Every = Every(None)
    """Checkpoints that a rewind may go back to."""

    @classmethod
    def of(cls, recipe: Recipe, per_epoch: int) -> Agenda:
        """Return the agenda of a recipe whose epochs have `per_epoch` batches."""
        budget = recipe.budget
        by_epochs = budget.epochs is not None
        unit = per_epoch if by_epochs else 1
        total = budget.steps if budget.steps is not None else round((budget.epochs or 0) * per_epoch)
        if total < 1:
            raise RecipeError(
                f"budget.epochs = {budget.epochs}: that is less than one step, an epoch being {per_epoch} steps. "
                "Give at least one step: budget.steps=1."
            )
        every = recipe.evaluate.every
        return cls(
            total=total,
            per_epoch=per_epoch,
            evaluate=Every(float(per_epoch) if every is None else max(every * unit, 1.0)),
            log=Every(recipe.log.every),
            save=Every(None if recipe.checkpoint.every is None else max(recipe.checkpoint.every * unit, 1.0)),
            point=_points(recipe, per_epoch, unit),
        )

    def following(self, step: int) -> int:
        """Return the first step after `step` at which anything is due."""
        due = [every.following(step) for every in (self.evaluate, self.log, self.save, self.point)]
        return min([self.total, *(item for item in due if item is not None)])

    def evaluates(self, step: int) -> bool:
        """Return whether an evaluation is due; one always is at the end."""
        return step == self.total or self.evaluate.due(step)


def _points(recipe: Recipe, per_epoch: int, unit: int) -> Every:
    if recipe.guard.action != "rewind":
        return Every(None)
    every = recipe.guard.rewind_every
    return Every(float(per_epoch) if every is None else max(every * unit, 1.0))
