"""Which torch.optim class serves each optimizer of a recipe, and which parameters it decays.

The fused classes are used where the device has them: one kernel updates all parameters, and they skip an update on
the device when `found_inf` is set, so that a non-finite loss is caught without a host synchronisation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from shoal.errors import RecipeError
from shoal.recipe.fields import Part
from shoal.recipe.optimizer_parts import Adamw, OptimizerPart, Sgd
from shoal.recipe.own import declare

Groups = list[dict[str, Any]]
Builder = Callable[[Any, Groups, bool], torch.optim.Optimizer]

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)  # pyright: ignore[reportPrivateUsage]

FUSED_DEVICES = ("cpu", "cuda")
"""Where torch's fused classes take `found_inf`."""


def _sgd(part: Sgd, groups: Groups, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups,
        lr=part.lr,
        momentum=part.momentum,
        weight_decay=part.weight_decay,
        nesterov=part.nesterov and part.momentum > 0,
        fused=fused,
    )


def _adamw(part: Adamw, groups: Groups, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        groups,
        lr=part.lr,
        betas=(part.beta1, part.beta2),
        eps=part.eps,
        weight_decay=part.weight_decay,
        fused=fused,
    )


BUILDERS: dict[str, Builder] = {"sgd": _sgd, "adamw": _adamw}
"""Each entry's builder: (its part of the recipe, parameter groups, whether to take the fused class)."""

SUPPLIED = ("params",)
"""What Shoal passes to a user's factory beside the keys of its recipe part."""


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
    return BUILDERS[part.name](part, groups, device.type in FUSED_DEVICES)


def parameter_groups(part: OptimizerPart, model: nn.Module) -> Groups:
    """Split trainable parameters into those that are decayed and those that are not (biases and norms, by default).

    The group that is not is marked `undecayed`, so that a schedule of weight decay leaves it at 0. Without
    weight decay there is one group: each group costs a kernel launch a step.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if part.weight_decay == 0 or part.decay_biases_and_norms:
        return [{"params": list(trainable.values())}] if trainable else []
    bare = set(_biases_and_norms(model))
    split: Mapping[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in trainable.items():
        split[name not in bare].append(parameter)
    groups: Groups = [{"params": split[True]}, {"params": split[False], "weight_decay": 0.0, "undecayed": True}]
    return [group for group in groups if group["params"]]


def _biases_and_norms(model: nn.Module) -> Iterator[str]:
    """Names of biases, of scales and shifts of normalisation layers, and of whatever else has at most one axis."""
    norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    for name, parameter in model.named_parameters():
        if parameter.ndim <= 1 or name.rpartition(".")[2] == "bias" or id(parameter) in norms:
            yield name
