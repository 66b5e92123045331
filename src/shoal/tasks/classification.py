"""Classification: cross entropy on class labels, accuracy, and top-5 accuracy where there are more than five classes.

Legend: outputs are logits [B, classes]; targets are labels [B], int64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from shoal.errors import RecipeError
from shoal.recipe import parts
from shoal.recipe.fields import Part
from shoal.tasks.metric import Metric, mean_of
from shoal.tasks.smoothing import smoothed_cross_entropy
from shoal.tasks.targets import Targets
from shoal.tasks.task import Task

TOP = 5
Loss = Callable[[Tensor, Tensor], Tensor]


def build(part: Part, targets: Targets) -> Task:
    """Build the recipe's `classification`; raises RecipeError where the targets are no class labels."""
    assert isinstance(part, parts.Classification)
    if targets.multilabel:
        raise RecipeError(
            f"task.name = classification: a target of this dataset is {targets.target_shape[0]} values of 0 and 1, "
            "several labels an example: expected one label. Choose task=multilabel; or turn one-hot targets into "
            "labels with argmax."
        )
    if targets.classes is None:
        raise RecipeError(
            "task.name = classification: the targets of this dataset are real-valued: expected class labels, which are "
            "integers from 0. Choose task=regression, or store the labels as integers."
        )
    if targets.target_shape != ():
        raise RecipeError(
            f"task.name = classification: a target of this dataset has shape {list(targets.target_shape)}: expected "
            "one label an example. Blocks of tokens are for task=language_modelling; one-hot targets become labels "
            "with argmax."
        )
    weights = _class_weights(part, targets.classes, targets.class_counts)
    on_device = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=targets.device)
    metrics = {"accuracy": mean_of("accuracy", correct, higher_is_better=True, in_training=True)}
    if targets.classes > TOP:
        metrics[f"top{TOP}"] = _top()
    return Task(
        outputs=targets.classes,
        loss=_cross_entropy(on_device),
        metrics=metrics,
        smoothed=partial(smoothed_cross_entropy, weights=on_device),
    )


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether the largest output of each example is its label's, [B]."""
    return outputs.argmax(1) == targets


def correct_in_top(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether the label of each example is among its five largest outputs, [B]."""
    return (outputs.topk(TOP, dim=1).indices == targets.unsqueeze(1)).any(1)


def _top() -> Metric:
    return mean_of(f"top{TOP}", correct_in_top, higher_is_better=True)


def _cross_entropy(weights: Tensor | None) -> Loss:
    """Cross entropy [B]; with weights, that of an example times the weight of its class, not divided by their sum."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, weight=weights, reduction="none")

    return loss


def _class_weights(part: parts.Classification, classes: int, counts: Sequence[int] | None) -> Sequence[float] | None:
    if part.class_weights is None:
        return None
    if part.class_weights == "balanced":
        return _balanced(classes, counts)
    if len(part.class_weights) != classes:
        raise RecipeError(
            f"task.class_weights has {len(part.class_weights)} weights and the dataset has {classes} classes: "
            "expected one weight a class, in the order of the labels, or balanced."
        )
    return part.class_weights


def _balanced(classes: int, counts: Sequence[int] | None) -> Sequence[float]:
    """The weights examples / (classes * count), whose mean over train is 1."""
    if counts is None:
        raise RecipeError(
            "task.class_weights = balanced: how many examples each class has is not known for this dataset. "
            "Give the weights themselves: task.class_weights=[1.0,2.0,...]."
        )
    empty = [label for label, count in enumerate(counts) if count == 0]
    if empty or len(counts) != classes:
        missing = ", ".join(str(label) for label in (empty or range(len(counts), classes)))
        raise RecipeError(
            f"task.class_weights = balanced: train has no example of class {missing}: expected one of each at least. "
            "Give the weights themselves: task.class_weights=[1.0,2.0,...]."
        )
    return [sum(counts) / (classes * count) for count in counts]
