"""Scheduled hyperparameters of one run, by blocks of steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shoal.recipe import Recipe
from shoal.recipe.schedule_parts import Constant, SchedulePart
from shoal.schedules import factors


class ScheduledHypers:
    """The values of every hyperparameter that a recipe schedules; lr is always among them.

    `base` holds the value that each schedule multiplies, `total` is the number of steps of the whole training. A
    hyperparameter without a schedule stays with the optimizer. A value depends on its step alone, not on the block in
    which it was asked for.
    """

    def __init__(self, recipe: Recipe, base: Mapping[str, float], total: int) -> None:
        self.total = total
        self.curves = [(part.name, part.model_dump(exclude={"name"})) for part in scheduled(recipe).values()]
        self.names = tuple(scheduled(recipe))
        self.base = np.array([base[name] for name in self.names])

    def block(self, first: int, last: int) -> np.ndarray:
        """Return the values of steps first..last-1: [steps, 1, H]."""
        columns = [factors(name, keys, first=first, last=last, total=self.total) for name, keys in self.curves]
        return (np.stack(columns, axis=-1) * self.base)[:, None, :]


def scheduled(recipe: Recipe) -> dict[str, SchedulePart]:
    """Return the schedules of a recipe that change anything, and lr's."""
    every = {name: getattr(recipe.schedules, name) for name in type(recipe.schedules).model_fields}
    plain = Constant()
    return {name: part for name, part in every.items() if name == "lr" or part != plain}
