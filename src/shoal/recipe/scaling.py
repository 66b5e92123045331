"""What a recipe for one batch size becomes for another, by the published rules, and why: the key `scale_from`.

With k times the batch, the same number of epochs has 1/k of the steps. The rules keep what happens in an epoch:

    SGD              lr k                                                    (arXiv 1706.02677)
    RMSprop, Adam    lr sqrt(k), 1 - beta k times as large, eps / sqrt(k)    (arXiv 2205.10287)
    Lion             lr sqrt(k), below the noise scale                       (arXiv 2405.14578)
    decoupled decay  lr * weight_decay k times as large                      (arXiv 2405.13698: 1 / (lr wd) in epochs)
    EMA              decay^k                                                 (arXiv 2307.13813)
    warm-up          steps / k: as many examples                             (arXiv 1706.02677: five epochs)

L2 decay is part of the loss, which no rule changes: it stays. An optimizer that has no published rule keeps its
learning rate, and a note says so: to refuse would make the other rules useless to it. The rules assume that the
gradient's noise matters more than the gradient; they fail for batches beyond that, the linear one sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from shoal.errors import RecipeError
from shoal.recipe.average_parts import Ema, Swa
from shoal.recipe.fields import Part
from shoal.recipe.parse import parse
from shoal.recipe.schema import Recipe

LINEAR = {"sgd"}
"""Optimizers whose learning rate grows with the batch."""
SQUARE_ROOT = {"rmsprop", "adam", "adamw", "nadam", "radam", "adamax"}
"""Optimizers that divide a mean of gradients by that of their size; the rule is proved for the first two.

Not `demon_adam`: its first moment is a sum, so that a beta1 scaled with the batch would change its steps once more.
"""
SIGN = {"lion"}
"""Optimizers that take the sign of a momentum."""
DECOUPLED = {"adamw", "lion"}
"""Optimizers that decay weights apart from the gradient, by lr * weight_decay a step, whatever else they are told."""
DECOUPLING = ("decoupled", "decoupled_weight_decay")
"""Keys by which other optimizers are told to."""
MEMORIES = ("beta1", "beta2", "alpha")
"""Keys that say which share of a running mean a step keeps."""

LEAST = 1e-9
"""A beta below this is what rounding leaves of 0."""

OF_SGD = "linear scaling of SGD (arXiv 1706.02677)"
OF_ADAM = "square-root scaling of Adam and RMSprop (arXiv 2205.10287)"
OF_LION = "square-root scaling of signed updates, below the noise scale (arXiv 2405.14578)"
OF_DECAY = "the time in which decoupled decay forgets stays as many epochs (arXiv 2405.13698)"
OF_EMA = "the average reaches back over as many examples (arXiv 2307.13813)"
OF_STEPS = "it lasts as many examples (arXiv 1706.02677)"


@dataclass(frozen=True)
class Change:
    """One key, what it was, what it is now, and by which rule; a note where both are the same."""

    key: str
    before: float
    after: float
    why: str


def scaled(recipe: Recipe, batch_size: int) -> tuple[Recipe, list[Change]]:
    """Return the recipe with its values rescaled from `scale_from.batch_size` to `batch_size`, and what changed.

    `batch_size` is the number of examples in a step, `all` being resolved. Where scale_from says nothing, or the same,
    nothing changes. Raises RecipeError where a beta has no value for so large a batch.
    """
    base = recipe.scale_from.batch_size
    if base is None or base == batch_size:
        return recipe, []
    k = batch_size / base
    growth, why = _growth(recipe.optimizer.name, k)
    changes = [Change("optimizer.lr", recipe.optimizer.lr, recipe.optimizer.lr * growth, why)]
    changes += _moments(recipe.optimizer, k, base)
    if recipe.optimizer.weight_decay > 0 and growth not in (1.0, k) and _decoupled(recipe.optimizer):
        decay = recipe.optimizer.weight_decay
        changes.append(Change("optimizer.weight_decay", decay, decay * k / growth, OF_DECAY))
    for name in type(recipe.schedules).model_fields:
        changes += _steps(f"schedules.{name}", getattr(recipe.schedules, name), k)
    changes += _average(recipe.average, k, growth, why)
    if recipe.budget.steps is not None:
        note = f"a note: the rules keep the number of epochs, and so many steps are now {k:g} times as many epochs"
        changes.append(Change("budget.steps", recipe.budget.steps, recipe.budget.steps, note))
    return _with(recipe, changes), changes


def sentences(changes: list[Change]) -> list[str]:
    """Return a line for each change, for people.

    >>> sentences([Change("optimizer.lr", 0.1, 0.4, "linear scaling")])
    ['optimizer.lr: 0.4 in place of 0.1: linear scaling.']
    """
    return [
        f"{change.key}: {change.after:.8g}"
        + (f" in place of {change.before:.8g}" if change.after != change.before else " stays")
        + f": {change.why}."
        for change in changes
    ]


def _growth(name: str, k: float) -> tuple[float, str]:
    """What the learning rate is multiplied by, and why."""
    if name in LINEAR:
        return k, OF_SGD
    if name in SQUARE_ROOT:
        return math.sqrt(k), OF_ADAM
    if name in SIGN:
        return math.sqrt(k), OF_LION
    return 1.0, f"a note: no rule is published for {name}; choose the learning rate for this batch size yourself"


def _moments(part: Part, k: float, base: int) -> list[Change]:
    """The betas and eps of what divides by a running mean; a beta of 0 remembers nothing and stays."""
    if part.name not in SQUARE_ROOT:
        return []
    changes: list[Change] = []
    for key in MEMORIES:
        beta: float = getattr(part, key, 0.0)
        if beta == 0:
            continue
        after = 1.0 - k * (1.0 - beta)
        if after < LEAST:
            most = math.ceil(round(1.0 / (1.0 - beta), 6)) - 1
            raise RecipeError(
                f"optimizer.{key} = {beta:g}: a batch {k:g} times as large as scale_from.batch_size would need "
                f"1 - {k:g} * (1 - {beta:g}) = {after:.4g}, for {OF_ADAM}: expected more than 0. Take a batch_size "
                f"of at most {most * base}, or set the values yourself and leave out scale_from."
            )
        changes.append(Change(f"optimizer.{key}", beta, after, OF_ADAM))
    if hasattr(part, "eps"):
        eps: float = getattr(part, "eps")  # noqa: B009  (not every optimizer has it)
        changes.append(Change("optimizer.eps", eps, eps / math.sqrt(k), OF_ADAM))
    return changes


def _decoupled(part: Part) -> bool:
    return part.name in DECOUPLED or any(getattr(part, key, False) is True for key in DECOUPLING)


def _steps(path: str, part: Part, k: float) -> list[Change]:
    """Every key that counts steps; one that is off stays off."""
    given = {key: getattr(part, key) for key in type(part).model_fields if key.endswith("_steps")}
    found = {key: (value, max(round(value / k), 1)) for key, value in given.items() if value}
    return [Change(f"{path}.{key}", *values, OF_STEPS) for key, values in found.items() if values[0] != values[1]]


def _average(part: Part, k: float, growth: float, why: str) -> list[Change]:
    changes = _steps("average", part, k)
    if isinstance(part, Ema):
        changes.append(Change("average.decay", part.decay, part.decay**k, OF_EMA))
    if isinstance(part, Swa) and part.lr is not None:
        changes.append(Change("average.lr", part.lr, part.lr * growth, why))
    return changes


def _with(recipe: Recipe, changes: list[Change]) -> Recipe:
    """Return the recipe with the new values in their places, checked again."""
    data = recipe.mapping()
    for change in changes:
        *above, key = change.key.split(".")
        holder: dict[str, Any] = data
        for name in above:
            holder = holder[name]
        holder[key] = change.after
    return parse(data)
