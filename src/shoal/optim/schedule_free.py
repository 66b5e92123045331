"""Schedule-free learning, by the package `schedulefree`, and the averaged weights that it is meant to be judged by.

Three points (Defazio et al. 2024, arXiv 2405.15682, equations 3 to 5): z takes the steps, x is their average, and
gradients are taken at y = (1 - momentum) z + momentum x, which is what the parameters hold while training. x is not
kept: it is computed from y, z and the momentum, which therefore cannot be scheduled.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from shoal.errors import RecipeError
from shoal.optim.rule import Tree
from shoal.recipe.optimizer_parts import ScheduleFree

Groups = list[dict[str, Any]]

AVERAGING = ("AdamWScheduleFree", "SGDScheduleFree", "RAdamScheduleFree")
"""Classes of `schedulefree` that keep z and hold y while they train."""


def build(part: ScheduleFree, groups: Groups) -> torch.optim.Optimizer:
    """Return the package's class, in train mode; raises RecipeError where the package is not installed."""
    try:
        import schedulefree  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise RecipeError(
            "optimizer.name = schedule_free: it needs the package schedulefree, which is not installed. "
            "Install it: pip install 'shoal[schedulefree]'."
        ) from error
    package: Any = schedulefree
    common: dict[str, Any] = {
        "lr": part.lr,
        "weight_decay": part.weight_decay,
        "r": part.r,
        "weight_lr_power": part.lr_power,
    }
    if part.base == "sgd":
        optimizer = package.SGDScheduleFree(groups, momentum=part.momentum, **common)
    else:
        optimizer = package.AdamWScheduleFree(groups, betas=(part.momentum, part.beta2), eps=part.eps, **common)
    optimizer.train()
    return cast(torch.optim.Optimizer, optimizer)


def is_averaging(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer trains other weights than those it is meant to be judged by."""
    cls = type(optimizer)
    return cls.__module__.partition(".")[0] == "schedulefree" and cls.__name__ in AVERAGING


@torch.no_grad()
def point_average(optimizer: torch.optim.Optimizer, model: nn.Module) -> Tree | None:
    """Return the averaged weights x of every parameter that is trained, by name; None for all other optimizers.

    The tensors are new; neither the optimizer's mode nor its parameters change. In eval mode the parameters are x.
    """
    if not is_averaging(optimizer):
        return None
    names = {parameter: name for name, parameter in model.named_parameters()}
    averages: Tree = {}
    groups: Groups = optimizer.param_groups
    for group in groups:
        momentum: float = group["betas"][0] if "betas" in group else group["momentum"]
        for parameter in group["params"]:
            y, slots = parameter.detach(), optimizer.state.get(parameter, {})
            moved = "z" in slots and group["train_mode"]
            averages[names[parameter]] = torch.lerp(y, slots["z"], 1 - 1 / momentum) if moved else y.clone()
    return averages
