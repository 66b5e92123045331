"""How far two trainings that differ in their budget alone are one and the same: what a longer one may take over.

Compared is all that depends on the budget: every hyper of every step, when evaluations are due and the points that a
rewind may go back to. A checkpoint of the shorter training is one of the longer, bit for bit, where all of these agree
up to its step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shoal.assembly.build import Workshop
from shoal.recipe import Recipe
from shoal.recipe.schedule_parts import Constant, Plateau
from shoal.training.agenda import Every
from shoal.training.objective import SHARE

BLOCK = 65_536


@dataclass(frozen=True)
class Agreement:
    """The steps whose hypers agree, the first step after which only one of the two evaluates, and why there is an end.

    `reason` is '' where they agree as far as was asked.
    """

    hypers: int
    rows: int
    reason: str

    def holds(self, step: int, *, due: bool) -> bool:
        """Return whether a checkpoint of a step is one of both; `due` says that its evaluation is still to be done."""
        return step <= self.hypers and (step < self.rows or (due and step == self.rows))


def agreement(one: Workshop, other: Workshop, steps: int) -> Agreement:
    """Return how far two trainings agree within the first steps, of which each has as many at least."""
    if one.agenda.per_epoch != other.agenda.per_epoch:
        return Agreement(0, 0, _of_epochs(one, other))
    hypers, of_hypers = _hypers(one, other, steps)
    rows, of_rows = _rows(one, other, steps)
    return Agreement(hypers, rows, of_rows if rows <= hypers else of_hypers)


def budget_in_words(recipe: Recipe) -> str:
    """Return the budget of a recipe as a person says it.

    >>> budget_in_words(Recipe())
    '10 epochs'
    """
    epochs, steps = recipe.budget.epochs, recipe.budget.steps
    count, unit = (f"{steps:,}", "step") if steps is not None else (f"{epochs:g}", "epoch")
    return f"{count} {unit}{'s' * (count != '1')}"


def _hypers(one: Workshop, other: Workshop, steps: int) -> tuple[int, str]:
    """How many of the first steps have the same hypers, and what the first that has not differs in."""
    for low in range(0, steps, BLOCK):
        high = min(low + BLOCK, steps)
        first, second = (each.hypers.block(low, high)[:, 0] for each in (one, other))
        different = np.argwhere(first != second)
        if different.size:
            step, column = (int(index) for index in different[0])
            name, values = one.hypers.names[column], (float(first[step, column]), float(second[step, column]))
            return low + step, _of_hyper(one, other, name, low + step + 1, values)
    return steps, ""


def _of_hyper(one: Workshop, other: Workshop, name: str, step: int, values: Sequence[float]) -> str:
    texts = [f"{value:.6g}" for value in values]
    if texts[0] == texts[1]:
        texts = [repr(value) for value in values]
    what = "the share that the average takes in" if name == SHARE else name
    return (
        f"{_key(one.effective, name)} depends on the budget: at step {step:,} {what} is {texts[0]} under "
        f"{budget_in_words(one.recipe)} and {texts[1]} under {budget_in_words(other.recipe)}"
    )


def _key(recipe: Recipe, name: str) -> str:
    """The key on which a hyper depends, with its value."""
    if name == SHARE:
        return f"average = {recipe.average.name}"
    part = getattr(recipe.schedules, name)
    if name == "lr" and isinstance(part, Constant | Plateau) and getattr(recipe.average, "lr", None) is not None:
        return f"average.lr = {getattr(recipe.average, 'lr'):g}"  # noqa: B009  (not every average has it)
    return f"schedules.{name} = {part.name}"


def _rows(one: Workshop, other: Workshop, steps: int) -> tuple[int, str]:
    """The first step after which only one of them evaluates, or has a point to go back to; beyond the last if none."""
    first, second = one.agenda, other.agenda
    evaluated = [
        {*_due(each.evaluate, steps), *({each.total} if each.total <= steps else ())} for each in (first, second)
    ]
    points = [set(_due(each.point, steps)) for each in (first, second)]
    step = min(evaluated[0] ^ evaluated[1], default=steps + 1)
    point = min(points[0] ^ points[1], default=steps + 1)
    if point < step:
        return point, f"guard.rewind_every depends on the budget: step {point:,} is a point to go back to in one only"
    if step > steps:
        return step, ""
    which = (one if step in evaluated[0] else other).recipe
    why = "the end" if step in (first.total, second.total) else "evaluate.every"
    return step, (
        f"an evaluation is due after step {step:,} under {budget_in_words(which)} only ({why}), and it is part of what "
        "comes after: metrics of training begin anew there, and best weights, early stopping and a plateau look at it"
    )


def _due(every: Every, steps: int) -> Iterator[int]:
    step = every.following(0)
    while step is not None and step <= steps:
        yield step
        step = every.following(step)


def _of_epochs(one: Workshop, other: Workshop) -> str:
    return (
        f"{one.recipe.dataset.name} has no length, so that an epoch is the whole training, {one.agenda.per_epoch:,} "
        f"steps for the one and {other.agenda.per_epoch:,} for the other, and every row of the history says which "
        "share of it is done"
    )
