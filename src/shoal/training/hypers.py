"""Scheduled hyperparameters of one run, by blocks of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from shoal.errors import RecipeError
from shoal.recipe import Recipe
from shoal.recipe.average_parts import Swa
from shoal.recipe.schedule_parts import Constant, Plateau, SchedulePart
from shoal.schedules import factors, swa_lr
from shoal.schedules.averages import swa_start

BELOW = {"momentum": 1.0}
"""What a hyperparameter has to stay below, where finite and not negative is not enough."""
CHECKED = 65_536
"""Steps whose values are checked at a time."""


class Controller(Protocol):
    """What multiplies a schedule by a factor that depends on how the training goes."""

    @property
    def factor(self) -> float:
        """The present factor."""
        ...

    @property
    def reductions(self) -> int:
        """How many times the factor has changed."""
        ...


class ScheduledHypers:
    """The values of every hyperparameter that a recipe schedules; lr is always among them.

    `base` holds the value that each schedule multiplies, `total` is the number of steps of the whole training and
    `per_epoch` that of an epoch. A hyperparameter without a schedule stays with the optimizer. A value depends on its
    step, and on the present factor of its controller where it has one, not on the block in which it was asked for.

    Raises RecipeError for a schedule that reaches beyond the end or multiplies 0, and for a value that leaves its
    bounds at any step.
    """

    def __init__(
        self,
        recipe: Recipe,
        base: Mapping[str, float],
        total: int,
        *,
        per_epoch: int = 1,
        controllers: Mapping[str, Controller] | None = None,
    ) -> None:
        parts = scheduled(recipe)
        self.total = total
        self.per_unit = per_epoch if recipe.budget.epochs is not None else 1
        self.names = tuple(parts)
        self.base = {name: base[name] for name in parts}
        self.curves = {name: (part.name, part.model_dump(exclude={"name"})) for name, part in parts.items()}
        self.controllers = dict(controllers or {})
        assert {name for name, part in parts.items() if isinstance(part, Plateau)} <= set(self.controllers)
        self.swa = recipe.average if isinstance(recipe.average, Swa) and recipe.average.lr is not None else None
        self._check()

    @property
    def version(self) -> int:
        """A number that changes when a controller's factor has changed: blocks of later steps are then out of date."""
        return sum(controller.reductions for controller in self.controllers.values())

    def block(self, first: int, last: int) -> np.ndarray:
        """Return the values of steps first..last-1, under the present factors of the controllers: [steps, 1, H]."""
        return np.stack([self._column(name, first, last) for name in self.names], axis=-1)[:, None, :]

    def _column(self, name: str, first: int, last: int) -> np.ndarray:
        values = self._scheduled(name, first, last)
        if name in self.controllers:
            values = values * self.controllers[name].factor
        if name == "lr" and self.swa is not None:
            return self._with_swa(self.swa, values, first, last)
        return values

    def _scheduled(self, name: str, first: int, last: int) -> np.ndarray:
        curve, keys = self.curves[name]
        base, path = self.base[name], f"schedules.{name}"
        return factors(curve, keys, first, last, self.total, per_unit=self.per_unit, base=base, path=path) * base

    def _with_swa(self, part: Swa, values: np.ndarray, first: int, last: int) -> np.ndarray:
        """The learning rate of SWA, which replaces the schedule's from the start point on."""
        assert part.lr is not None
        begins = swa_start(part.start, self.total)
        before = float(self._scheduled("lr", begins, begins + 1)[0])
        steps = np.arange(first, last, dtype=np.int64)
        after = swa_lr(steps, before, start=part.start, total=self.total, lr=part.lr, anneal_steps=part.anneal_steps)
        return np.where(steps < begins, values, after)

    def _check(self) -> None:
        if self.swa is not None and self.curves["lr"][0] == "plateau":
            raise RecipeError(
                f"schedules.lr.name = plateau: average.lr = {self.swa.lr:g} holds the learning rate from a point on, "
                "and a plateau lowers it. Leave out average.lr, or choose another schedule."
            )
        for name, value in self.base.items():
            if value == 0:
                raise RecipeError(
                    f"schedules.{name}.name = {self.curves[name][0]}: it would change nothing, for it multiplies the "
                    f"optimizer's {name}, which is 0: expected more than 0. Give the optimizer one, or leave out "
                    f"schedules.{name}."
                )
        for low in range(0, self.total, CHECKED):
            block = self.block(low, min(low + CHECKED, self.total))[:, 0]
            for name, values in zip(self.names, block.T, strict=True):
                bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values < BELOW.get(name, np.inf))))
                if bad.size:
                    raise RecipeError(self._out_of_bounds(name, low + int(bad[0]), float(values[bad[0]])))

    def _out_of_bounds(self, name: str, step: int, value: float) -> str:
        below = f" and less than {BELOW[name]:g}" if name in BELOW else ", finite"
        return (
            f"schedules.{name}.name = {self.curves[name][0]}: at step {step:,} of {self.total:,} {name} would be "
            f"{value:.6g}, the optimizer's being {self.base[name]:g}: expected at least 0{below}. Change the shares of "
            f"schedules.{name}, or the optimizer's own value."
        )


def scheduled(recipe: Recipe) -> dict[str, SchedulePart]:
    """Return the schedules of a recipe that change anything, and lr's."""
    every = {name: getattr(recipe.schedules, name) for name in type(recipe.schedules).model_fields}
    plain = Constant()
    return {name: part for name, part in every.items() if name == "lr" or part != plain}
