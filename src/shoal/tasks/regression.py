"""Regression: squared, absolute or Huber error of real-valued targets; R2.

Legend: targets are [B], where outputs are [B, 1], or [B, K], where outputs are too. The error of an example is the
mean over its K columns. Shapes are matched here and never broadcast: [B, 1] minus [B] would be [B, B].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from shoal.errors import RecipeError, TrainingError
from shoal.recipe import parts
from shoal.recipe.fields import Part
from shoal.tasks.metric import Metric, mean_of
from shoal.tasks.targets import Targets
from shoal.tasks.task import Task

Error = Callable[[Tensor, Tensor], Tensor]


def build(part: Part, targets: Targets) -> Task:
    """Build the recipe's `regression`; raises RecipeError where the targets are labels, or are no vectors."""
    assert isinstance(part, parts.Regression)
    if targets.multilabel:
        raise RecipeError(
            f"task.name = regression: a target of this dataset is {targets.target_shape[0]} integers of 0 and 1, "
            "several labels an example: expected real values. Choose task=multilabel, or convert the targets to float."
        )
    if targets.classes is not None:
        raise RecipeError(
            f"task.name = regression: the targets of this dataset are labels of {targets.classes} classes: expected "
            f"real values. Choose task={'language_modelling' if targets.target_shape else 'classification'}, or "
            "convert the targets to float."
        )
    if len(targets.target_shape) > 1:
        raise RecipeError(
            f"task.name = regression: a target of this dataset has shape {list(targets.target_shape)}: expected one "
            "value or one row of values an example. Flatten the targets, or pass a loss of your own."
        )
    wide = torch.float32 if targets.device.type == "mps" else torch.float64  # MPS has no float64
    return Task(
        outputs=targets.target_shape[0] if targets.target_shape else 1,
        loss=partial(per_example, _loss(part)),
        metrics={
            "mse": mean_of("mse", partial(per_example, _squared), higher_is_better=False),
            "mae": mean_of("mae", partial(per_example, _absolute), higher_is_better=False, in_training=True),
            "r2": Metric(partial(_sums_of_squares, wide), _explained, higher_is_better=True),
        },
    )


def per_example(error: Error, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of an elementwise error over the columns of each example, [B]."""
    values = error(matched(outputs, targets), targets)
    return values if values.dim() == 1 else values.mean(1)


def matched(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the outputs in the targets' shape; raises TrainingError where they are not as many."""
    if outputs.shape == targets.shape:
        return outputs
    if outputs.dim() == targets.dim() + 1 and outputs.shape[-1] == 1 and outputs.shape[:-1] == targets.shape:
        return outputs.squeeze(-1)
    raise TrainingError(
        f"the model's outputs have shape {list(outputs.shape)} and the targets {list(targets.shape)}: expected equal "
        "shapes, or outputs with one column more. Let the model return as many values an example as the target has."
    )


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, targets, reduction="none")


def _absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.l1_loss(outputs, targets, reduction="none")


def _huber(delta: float, outputs: Tensor, targets: Tensor) -> Tensor:
    return F.huber_loss(outputs, targets, reduction="none", delta=delta)


def _loss(part: parts.Regression) -> Error:
    return {"mse": _squared, "mae": _absolute, "huber": partial(_huber, part.delta)}[part.loss]


def _sums_of_squares(dtype: torch.dtype, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    """The squared error, and the first two moments of each column; wide, because R2 subtracts the two moments."""
    wide_BK = targets.to(dtype).reshape(len(targets), -1)
    error_BK = matched(outputs, targets).to(dtype).reshape(wide_BK.shape) - wide_BK
    columns = {f"target{index}": column for index, column in enumerate(wide_BK.unbind(1))}
    return {"error": error_BK.square().sum(1), "square": wide_BK.square().sum(1), **columns}


def _explained(means: Mapping[str, float]) -> float:
    """1 - SSE/SST, each over all columns about its own mean: scikit-learn's r2_score, variance weighted.

    NaN where the targets are constant to rounding: there is no variance to explain.
    """
    squared_means = sum(value**2 for name, value in means.items() if name.startswith("target"))
    variance = means["square"] - squared_means
    if not variance > 1e-12 * means["square"]:
        return math.nan
    return 1.0 - means["error"] / variance
