"""Label smoothing: a share of each label is spread evenly over all classes, in training only.

Szegedy et al. 2015, "Rethinking the Inception Architecture", arXiv 1512.00567, section 7. torch's cross entropy takes
the share as a Python number; here it may be a tensor, so that the runs of a stack can have several.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from shoal.errors import RecipeError
from shoal.tasks.task import Task


def smoothed_cross_entropy(
    outputs: Tensor, targets: Tensor, smoothing: Tensor | float, *, weights: Tensor | None = None
) -> Tensor:
    """Return (1 - s) * -w[y] log p(y) + s / C * sum over classes c of -w[c] log p(c), [B].

    outputs [B, C] are logits, targets [B] labels, s is `smoothing`; without weights each is 1. It equals
    `F.cross_entropy(outputs, targets, weights, reduction="none", label_smoothing=s)`.
    """
    log_shares = F.log_softmax(outputs, dim=1)
    plain = F.nll_loss(log_shares, targets, weight=weights, reduction="none")
    even = -(log_shares if weights is None else log_shares * weights).mean(1)
    return plain + smoothing * (even - plain)


def training_loss(task: Task, smoothing: Tensor | float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of (outputs, targets) for training: with labels smoothed by that share, plain where it is 0.

    Raises RecipeError where the task has no labels to smooth.
    """
    if isinstance(smoothing, float | int) and smoothing == 0:
        return task.loss
    smoothed = task.smoothed
    if smoothed is None:
        said = "" if isinstance(smoothing, Tensor) else f" = {smoothing:g}"
        raise RecipeError(
            f"regularise.label_smoothing{said}: this training's loss is none on class labels that could be smoothed: "
            "expected task=classification or task=language_modelling, with its own loss. Leave "
            "regularise.label_smoothing out, or smooth the labels in the loss that you pass."
        )
    return lambda outputs, targets: smoothed(outputs, targets, smoothing)
