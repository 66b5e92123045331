"""How a scheduled hyperparameter reaches a torch.optim optimizer: plain floats in its parameter groups.

A schedule's name is the same for every optimizer (`lr`, `momentum`, `weight_decay`); what it is called in the
parameter groups is not: `momentum` is beta1 of the Adam family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from shoal.errors import RecipeError

Writer = Callable[[float], None]

SCHEDULABLE = ("lr", "momentum", "weight_decay")
"""What a recipe can schedule."""


def writers(optimizer: torch.optim.Optimizer, names: Iterable[str]) -> list[Writer]:
    """Return one function a name, which writes a value into every parameter group that takes it."""
    return [_writer(optimizer, name) for name in names]


def base_value(optimizer: torch.optim.Optimizer, name: str) -> float:
    """Return the value that the optimizer was built with, which a schedule multiplies.

    Raises RecipeError where the optimizer has no such hyperparameter.

    >>> base_value(torch.optim.AdamW([torch.zeros(1)], betas=(0.8, 0.99)), "momentum")
    0.8
    """
    defaults = optimizer.defaults
    if name == "momentum" and "betas" in defaults:
        return float(defaults["betas"][0])
    if not _is_number(defaults.get(name)):
        there = [candidate for candidate in SCHEDULABLE if _is_number(defaults.get(candidate))]
        if "betas" in defaults:
            there.append("momentum")
        raise RecipeError(
            f"schedules.{name}: {type(optimizer).__name__} has no {name} to schedule; it has: "
            f"{', '.join(there) or 'none of ' + ', '.join(SCHEDULABLE)}. "
            f"Leave out schedules.{name}, or choose another optimizer."
        )
    return float(defaults[name])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | torch.Tensor) and not isinstance(value, bool)


def _writer(optimizer: torch.optim.Optimizer, name: str) -> Writer:
    base_value(optimizer, name)
    groups: list[dict[str, Any]] = optimizer.param_groups
    if name == "momentum" and "betas" in optimizer.defaults:
        return partial(_write_beta1, groups)
    if name == "weight_decay":
        groups = [group for group in groups if not group.get("undecayed")]
    return partial(_write, groups, name)


def _write(groups: list[dict[str, Any]], name: str, value: float) -> None:
    for group in groups:
        group[name] = value


def _write_beta1(groups: list[dict[str, Any]], value: float) -> None:
    for group in groups:
        group["betas"] = (value, group["betas"][1])
