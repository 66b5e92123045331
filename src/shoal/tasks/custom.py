"""A loss function of the user's own, of (outputs, targets), in the place of a task's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from shoal.errors import TrainingError
from shoal.tasks.task import Task


def with_loss(task: Task, function: Callable[[Tensor, Tensor], Tensor]) -> Task:
    """Return the task with its loss replaced by `function(outputs, targets)`; outputs and metrics stay.

    There is no smoothed form of it: what labels are to it is not known.
    """
    return replace(task, loss=function, smoothed=None)


def check_loss(value: object, batch_size: int) -> Tensor:
    """Return what a loss function returned, if training can use it, else raise TrainingError that says what it is.

    Expected are [B], one value an example, or a scalar. Where gradients are recorded it must depend on the weights.

    >>> check_loss(torch.zeros(3, requires_grad=True), batch_size=3).shape
    torch.Size([3])
    """
    wanted = f"expected a tensor of shape [{batch_size}], one value an example, or a scalar"
    if not isinstance(value, Tensor):
        raise TrainingError(
            f"the loss function returned {type(value).__name__}: {wanted}. Compute it with torch operations, and leave "
            "out .item(), float() and .numpy()."
        )
    if value.shape not in ((batch_size,), ()):
        raise TrainingError(
            f"the loss function returned a tensor of shape {list(value.shape)}: {wanted}. Use reduction='none', and "
            "take the mean over all other axes."
        )
    if torch.is_grad_enabled() and not value.requires_grad:
        raise TrainingError(
            "the loss function returned a tensor that does not depend on the model's weights, so there is nothing to "
            "train. Compute it from the outputs, without .detach(), argmax or torch.no_grad()."
        )
    return value
