"""Which torch.optim class and which rule serve each optimizer of a recipe.

The fused classes are used where the device has them: one kernel updates all parameters, and they skip an update on
the device when `found_inf` is set, so that a non-finite loss is caught without a host synchronisation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from shoal.errors import RecipeError
from shoal.optim import adafactor, adam, adam_kin, lbfgs, lion, muon, scaled, schedule_free, sgd
from shoal.optim.groups import parameter_groups
from shoal.optim.rule import Rule
from shoal.optim.unwrapped import without_compiler
from shoal.optim.writers import hyper_name
from shoal.recipe.fields import Part, marks
from shoal.recipe.optimizer_parts import OptimizerPart
from shoal.recipe.own import declare

Groups = list[dict[str, Any]]
Builder = Callable[[Any, Groups, bool], torch.optim.Optimizer]

FUSED_DEVICES = ("cpu", "cuda")
"""Where torch's fused classes take `found_inf`."""


def _unfused(builder: Callable[[Any, Groups], torch.optim.Optimizer]) -> Builder:
    """A builder of a class that has no fused kernel; torch takes its foreach loops where the device is for them."""

    def build(part: Part, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        del fused
        return builder(part, groups)

    return build


BUILDERS: dict[str, Builder] = {
    "sgd": sgd.build,
    "adagrad": scaled.build_adagrad,
    "rmsprop": _unfused(scaled.build_rmsprop),
    "adadelta": _unfused(scaled.build_adadelta),
    "adam": adam.build,
    "adamw": adam.build,
    "demon_adam": _unfused(adam.build_demon),
    "nadam": _unfused(adam_kin.build_nadam),
    "radam": _unfused(adam_kin.build_radam),
    "adamax": _unfused(adam_kin.build_adamax),
    "lion": _unfused(lion.build),
    "muon": _unfused(muon.build),
    "adafactor": _unfused(adafactor.build),
    "schedule_free": _unfused(schedule_free.build),
    "lbfgs": _unfused(lbfgs.build),
}
"""Each entry's builder: (its part of the recipe, parameter groups, whether to take the fused class)."""

RULES: dict[str, Callable[[Any], Rule]] = {
    "sgd": sgd.SgdRule.of,
    "adagrad": lambda _: scaled.AdagradRule(),
    "rmsprop": scaled.RmspropRule.of,
    "adadelta": lambda _: scaled.AdadeltaRule(),
    "adam": adam.AdamRule.of,
    "adamw": adam.AdamRule.of,
    "demon_adam": lambda _: adam.DemonAdamRule(),
    "nadam": adam_kin.NadamRule.of,
    "radam": adam_kin.RadamRule.of,
    "adamax": lambda _: adam_kin.AdamaxRule(),
    "lion": lambda _: lion.LionRule(),
    "muon": muon.MuonRule.of,
    "adafactor": adafactor.AdafactorRule.of,
}
"""Each entry's rule, of its part of the recipe; an entry without one is executed eagerly, and alone."""

GUARDED = "torch's class takes no found_inf, so that a guard against losses that are not finite reads one number a step"
SYNCHRONISES: dict[str, str] = {
    "rmsprop": GUARDED,
    "adadelta": GUARDED,
    "nadam": GUARDED,
    "radam": GUARDED,
    "adamax": GUARDED,
    "adafactor": "torch's class reads two norms of each parameter in every step",
    "schedule_free": "the package's classes take no found_inf, so that a guard reads one number a step",
    "lbfgs": "torch's class reads the loss at every evaluation, and decides on the host when a step ends",
}
"""Entries whose class waits for the device in a step, and what for. Rules never do."""

DEFAULT_SCHEDULES: dict[str, dict[str, str]] = {"demon_adam": {"momentum": "demon"}}
"""Schedules that belong to an optimizer, by the name of what is scheduled."""

SUPPLIED = ("params",)
"""What Shoal passes to a user's factory beside the keys of its recipe part."""


def rule_of(part: OptimizerPart, *, rest: bool = False) -> Rule | None:
    """Return the rule of an optimizer, or None where it has none; `rest` asks for that of a group so marked."""
    if rest:
        return muon.AdamwOfRest()
    return RULES[part.name](part) if part.name in RULES else None


def hypers_of(part: OptimizerPart) -> dict[str, float]:
    """Return the hyperparameters of an optimizer that are numbers and may differ between the runs of a stack, by key.

    >>> from shoal.recipe.optimizer_parts import Sgd
    >>> hypers_of(Sgd(lr=0.5))
    {'lr': 0.5, 'weight_decay': 0.0, 'momentum': 0.9, 'dampening': 0.0}
    """
    stackable = [key for key, field in type(part).model_fields.items() if key != "name" and marks(field).stackable]
    return {key: float(getattr(part, key)) for key in stackable}


def default_schedules(part: OptimizerPart) -> dict[str, str]:
    """Return the schedules that an optimizer has where a recipe names none: Demon's momentum, for `demon_adam`.

    What is 0 has none: there is nothing to multiply.
    """
    own = DEFAULT_SCHEDULES.get(part.name, {})
    return {name: curve for name, curve in own.items() if getattr(part, hyper_name(part, name))}


def register(name: str, factory: Callable[..., torch.optim.Optimizer]) -> None:
    """Add a user's factory of (params, **keys of its part), which returns a torch.optim.Optimizer.

    `params` are parameter groups, as torch's classes take them. The factory's annotated parameters become keys of the
    recipe. Raises RecipeError for a name that is taken.
    """
    declare("optimizer", name, factory, supplied=SUPPLIED)
    accepted = inspect.signature(factory).parameters

    def builder(part: Part, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        del fused
        _refuse_ignored(part, accepted)
        optimizer: Any = factory(params=groups, **{key: value for key, value in part if key in accepted})
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise RecipeError(
                f"optimizer.name = {name}: its factory returned {type(optimizer).__name__}: expected a "
                "torch.optim.Optimizer."
            )
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise RecipeError(
                f"optimizer.name = {name}: {type(optimizer).__name__} evaluates the loss several times a step (its "
                "step needs a closure), which Shoal's step does not. Choose an optimizer whose step takes no closure."
            )
        return optimizer

    BUILDERS[name] = builder


def _refuse_ignored(part: Part, accepted: Collection[str]) -> None:
    """Refuse a key that every optimizer has and that this factory would never see."""
    for key in ("lr", "weight_decay"):
        value = getattr(part, key)
        if key not in accepted and value != type(part).model_fields[key].default:
            raise RecipeError(
                f"optimizer.{key} = {value}: the factory of the optimizer '{part.name}' has no parameter {key}, so it "
                f"would be ignored. Leave it out, or add '{key}: float' to the factory's parameters."
            )


def build(part: OptimizerPart, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe over a model's trainable parameters."""
    groups = parameter_groups(part, model)
    if not groups:
        raise RecipeError("the model has no parameters that require gradients: there is nothing to train.")
    with without_compiler():
        return BUILDERS[part.name](part, groups, device.type in FUSED_DEVICES)
