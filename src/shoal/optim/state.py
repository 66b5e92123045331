"""An optimizer's state by parameter name: {parameter: {slot: value}}, with torch's names of slots.

torch numbers parameters instead, so that its state cannot move between a model and a stack of models, nor survive a
parameter added in front. Hyperparameters are not in here: they are functions of the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shoal.errors import CheckpointError


def named_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the state of every parameter that has one."""
    state: Mapping[Any, dict[str, Any]] = optimizer.state
    return {name: dict(state[p]) for name, p in model.named_parameters() if p in state}


def load_named_state(
    optimizer: torch.optim.Optimizer, model: nn.Module, saved: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put back what `named_state` returned; raises CheckpointError for names that the model does not have."""
    parameters = dict(model.named_parameters())
    strangers = set(saved) - set(parameters)
    if strangers:
        raise CheckpointError(f"the optimizer's state has parameters that the model lacks: {', '.join(sorted(strangers))}.")
    optimizer.state.clear()
    for name, slots in saved.items():
        parameter = parameters[name]
        optimizer.state[parameter] = {key: _placed(value, parameter) for key, value in slots.items()}


def _placed(value: Any, parameter: nn.Parameter) -> Any:
    """A slot on the parameter's device; step counters stay float32, as torch's optimizers keep them."""
    return value.to(parameter.device).clone() if isinstance(value, Tensor) else value
