"""The task: what training needs to know about the purpose of the outputs, and nothing about the model or the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from shoal.tasks.metric import Metric


@dataclass(frozen=True)
class Task:
    """What is optimised and what is measured.

    `outputs` is the width of the model's output. `loss(outputs, targets)` returns one value an example, [B], or a
    scalar, [], which is then evaluated on unpadded batches. `metrics` are those beside the loss, by name.
    `smoothed(outputs, targets, smoothing)` is the loss with smoothed labels, [B], for a float or a tensor []; None
    where targets are no labels, or the loss is the user's own. Evaluation takes the plain loss always.
    """

    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Mapping[str, Metric]
    smoothed: Callable[[Tensor, Tensor, Tensor | float], Tensor] | None = None
