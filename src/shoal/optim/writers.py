"""How a scheduled hyperparameter reaches a torch.optim optimizer: plain floats in its parameter groups.

A schedule's name is the same for every optimizer (`lr`, `momentum`, `weight_decay`); what it is called in the
parameter groups is not: `momentum` is beta1 of the Adam family. A group's multiplier applies to whatever is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeGuard

import torch

from shoal.errors import RecipeError
from shoal.optim.schedule_free import is_averaging
from shoal.recipe.optimizer_parts import OptimizerPart

Writer = Callable[[float], None]

SCHEDULABLE = ("lr", "momentum", "weight_decay")
"""What a recipe can schedule."""
MULTIPLIERS = {"lr": "lr_multiplier", "weight_decay": "decay_multiplier"}
"""Entries of a group that multiply a scheduled value, where the group has them."""
FIXED: Mapping[str, tuple[str, ...]] = {"schedule_free": ("momentum",), "lbfgs": ("momentum", "weight_decay")}
"""What an entry has no use for when it changes."""
REASONS = {("schedule_free", "momentum"): ": its average is computed with one momentum throughout"}


def writers(optimizer: torch.optim.Optimizer, names: Iterable[str]) -> list[Writer]:
    """Return one function a name, which writes a value into every parameter group that takes it."""
    return [_writer(optimizer, name) for name in names]


def base_value(optimizer: torch.optim.Optimizer, name: str, *, called: str | None = None) -> float:
    """Return the value that the optimizer was built with, which a schedule multiplies.

    Raises RecipeError where the optimizer, `called` so in the recipe, has no such hyperparameter.

    >>> base_value(torch.optim.AdamW([torch.zeros(1)], betas=(0.8, 0.99)), "momentum")
    0.8
    """
    found = {candidate: _default(optimizer, candidate) for candidate in SCHEDULABLE}
    value = found.get(name)
    if value is None:
        there = [known for known in SCHEDULABLE if found[known] is not None]
        raise _lacking(name, called or type(optimizer).__name__, there)
    return value


def hyper_name(part: OptimizerPart, name: str) -> str:
    """Return the recipe's key of what a schedule changes: `momentum` is `beta1` of the Adam family.

    Raises RecipeError where the optimizer has no such hyperparameter.

    >>> from shoal.recipe.optimizer_parts import Adamw
    >>> hyper_name(Adamw(), "momentum")
    'beta1'
    """
    keys = {candidate: _key(part, candidate) for candidate in SCHEDULABLE}
    key = keys.get(name)
    if key is None:
        raise _lacking(name, part.name, [known for known in SCHEDULABLE if keys[known] is not None])
    return key


def _key(part: OptimizerPart, name: str) -> str | None:
    if name in FIXED.get(part.name, ()):
        return None
    own = type(part).model_fields
    names = ("momentum", "beta1") if name == "momentum" else (name,)
    return next((key for key in names if key in own), None)


def _lacking(name: str, optimizer: str, there: Iterable[str]) -> RecipeError:
    return RecipeError(
        f"schedules.{name}: {optimizer} has no {name} to schedule{REASONS.get((optimizer, name), '')}; it has: "
        f"{', '.join(there) or 'none of ' + ', '.join(SCHEDULABLE)}. "
        f"Leave out schedules.{name}, or choose another optimizer."
    )


def _default(optimizer: torch.optim.Optimizer, name: str) -> float | None:
    """The value of what a schedule calls so, or None."""
    defaults: Mapping[str, Any] = optimizer.defaults
    if name == "momentum":
        if is_averaging(optimizer):
            return None
        if "betas" in defaults:
            return float(defaults["betas"][0])
    value: Any = defaults.get(_group_key(optimizer, name))
    return float(value) if _is_number(value) else None


def _group_key(optimizer: torch.optim.Optimizer, name: str) -> str:
    """What a plain number is called in the groups; a rule's keys are the recipe's."""
    return "beta1" if name == "momentum" and "beta1" in optimizer.defaults else name


def _is_number(value: object) -> TypeGuard[float | torch.Tensor]:
    return isinstance(value, int | float | torch.Tensor) and not isinstance(value, bool)


def _writer(optimizer: torch.optim.Optimizer, name: str) -> Writer:
    base_value(optimizer, name)
    groups: list[dict[str, Any]] = optimizer.param_groups
    if name == "momentum" and "betas" in optimizer.defaults:
        return partial(_write_beta1, groups)
    if name == "weight_decay":
        groups = [group for group in groups if not group.get("undecayed")]
    multiplier = MULTIPLIERS.get(name)
    if multiplier and any(multiplier in group for group in groups):
        return partial(_write_multiple, groups, name, multiplier)
    return partial(_write, groups, _group_key(optimizer, name))


def _write(groups: list[dict[str, Any]], key: str, value: float) -> None:
    for group in groups:
        group[key] = value


def _write_multiple(groups: list[dict[str, Any]], key: str, multiplier: str, value: float) -> None:
    for group in groups:
        group[key] = value * group.get(multiplier, 1.0)


def _write_beta1(groups: list[dict[str, Any]], value: float) -> None:
    for group in groups:
        group["betas"] = (value, group["betas"][1])
