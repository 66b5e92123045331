"""An optimizer's state by parameter name: {parameter: {slot: value}}, with torch's names of slots.

torch numbers parameters instead, so that its state cannot move between a model and a stack of models, nor survive a
parameter added in front. Hyperparameters are not in here: they are functions of the step. What an optimizer keeps in
its parameter groups beside them (Prodigy's d, schedule-free's weight_sum) is `group_state`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoal.errors import CheckpointError
from shoal.optim.rule_optimizer import RuleOptimizer

Slots = dict[str, Any]

NOT_STATE = ("params", "foreach", "fused", "capturable", "differentiable")
"""Entries of a parameter group that belong to the process: where its parameters are, and how they are updated."""
COUNTERS = ("step", "mu_product")
"""Slots of one number, which torch's classes keep on the host where neither fused nor capturable: they read them."""


def named_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Slots]:
    """Return the state of every parameter that has one."""
    state: Mapping[Any, Slots] = optimizer.state
    return {name: dict(state[p]) for name, p in model.named_parameters() if p in state}


def load_named_state(
    optimizer: torch.optim.Optimizer, model: nn.Module, saved: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put back what `named_state` returned; raises CheckpointError for names that the model does not have."""
    parameters = dict(model.named_parameters())
    strangers = sorted(set(saved) - set(parameters))
    if strangers:
        raise CheckpointError(f"the optimizer's state has parameters that the model lacks: {', '.join(strangers)}.")
    rules = isinstance(optimizer, RuleOptimizer)
    counts_on_device = {
        parameter: bool(rules or group.get("fused") or group.get("capturable"))
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    optimizer.state.clear()
    for name, slots in saved.items():
        parameter = parameters[name]
        home = parameter.device if counts_on_device.get(parameter) else torch.device("cpu")
        optimizer.state[parameter] = {
            slot: value.to(home).clone()
            if slot in COUNTERS and isinstance(value, Tensor)
            else _placed(value, parameter)
            for slot, value in slots.items()
        }
    if isinstance(optimizer, RuleOptimizer):
        optimizer.regroup()


def group_state(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the entries of every parameter group, but for those that belong to the process."""
    groups: list[dict[str, Any]] = optimizer.param_groups
    return [{key: value for key, value in group.items() if key not in NOT_STATE} for group in groups]


def load_group_state(optimizer: torch.optim.Optimizer, saved: Sequence[Mapping[str, Any]]) -> None:
    """Put back what `group_state` returned; a checkpoint holds lists, where the optimizer may want its tuples."""
    groups: list[dict[str, Any]] = optimizer.param_groups
    if len(saved) != len(groups):
        raise CheckpointError(
            f"the optimizer has {len(groups)} parameter groups and {len(saved)} were saved: it is another optimizer."
        )
    for group, entries in zip(groups, saved, strict=True):
        for key, value in entries.items():
            group[key] = tuple(cast(list[Any], value)) if isinstance(group.get(key), tuple) else value


def _placed(value: Any, parameter: nn.Parameter) -> Any:
    """A slot on the parameter's device, with its memory layout where it has its shape.

    torch's fused kernels walk parameter and slots side by side: a slot in another layout would update other weights.
    """
    if isinstance(value, Tensor):
        if value.shape != parameter.shape:
            return value.to(parameter.device).clone()
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    if isinstance(value, list):
        return [_placed(item, parameter) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {key: _placed(item, parameter) for key, item in cast(dict[Any, Any], value).items()}
    return value
