"""Several labels an example: binary cross entropy of each, and how many examples and labels are right.

Legend: outputs are logits [B, K]; targets are 0 or 1, [B, K] float32. A label is predicted where its logit is positive,
which is a probability above one half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from shoal.errors import RecipeError
from shoal.recipe import parts
from shoal.recipe.fields import Part
from shoal.tasks.metric import Metric, mean_of
from shoal.tasks.targets import Targets
from shoal.tasks.task import Task


def build(part: Part, targets: Targets) -> Task:
    """Build the recipe's `multilabel`; raises RecipeError where the targets are not 0 or 1 for each of K labels."""
    assert isinstance(part, parts.Multilabel)
    expected = "expected an array [N, K] of 0 and 1, one column a label"
    if targets.classes is not None:
        of_text = bool(targets.target_shape)
        what = "blocks of tokens" if of_text else f"labels of {targets.classes} classes, one an example"
        raise RecipeError(
            f"task.name = multilabel: the targets of this dataset are {what}: {expected}. Choose "
            f"task={'language_modelling' if of_text else 'classification'}."
        )
    if len(targets.target_shape) != 1:
        raise RecipeError(
            f"task.name = multilabel: a target of this dataset has shape {list(targets.target_shape)}: {expected}."
        )
    if targets.multilabel is False:
        raise RecipeError(
            f"task.name = multilabel: the targets of this dataset hold other values than 0 and 1: {expected}. "
            "For real values, choose task=regression."
        )
    (labels,) = targets.target_shape
    weights = _positive_weights(part, labels, targets.label_shares)
    on_device = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=targets.device)
    return Task(
        outputs=labels,
        loss=_cross_entropy(on_device),
        metrics={
            "accuracy": mean_of("accuracy", share_correct, higher_is_better=True, in_training=True),
            "exact_match": mean_of("exact_match", all_correct, higher_is_better=True),
            "f1": Metric(_counts, _micro_f1, higher_is_better=True),
        },
    )


def share_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of an example's labels that are right, [B]."""
    return _right(outputs, targets).to(torch.float32).mean(1)


def all_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether all labels of an example are right, [B]: subset accuracy."""
    return _right(outputs, targets).all(1)


def _right(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs > 0) == (targets > 0.5)


def _counts(outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    """The labels of an example that are found, wrongly found, and missed."""
    found, there = outputs > 0, targets > 0.5
    return {"tp": (found & there).sum(1), "fp": (found & ~there).sum(1), "fn": (~found & there).sum(1)}


def _micro_f1(means: Mapping[str, float]) -> float:
    """2 TP / (2 TP + FP + FN) over all labels of all examples; NaN where no label is there and none is predicted."""
    whole = 2 * means["tp"] + means["fp"] + means["fn"]
    return 2 * means["tp"] / whole if whole else math.nan


def _cross_entropy(weights: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean over an example's labels, [B]; with weights, the terms of labels that are there times theirs."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs, targets, pos_weight=weights, reduction="none").mean(1)

    return loss


def _positive_weights(part: parts.Multilabel, labels: int, shares: Sequence[float] | None) -> Sequence[float] | None:
    if part.positive_weights is None:
        return None
    if part.positive_weights == "balanced":
        return _balanced(shares)
    if len(part.positive_weights) != labels:
        raise RecipeError(
            f"task.positive_weights has {len(part.positive_weights)} weights and a target of this dataset has {labels} "
            "labels: expected one weight a label, in the order of the columns, or balanced."
        )
    return part.positive_weights


def _balanced(shares: Sequence[float] | None) -> Sequence[float]:
    """The weights (examples without a label) / (examples with it): both weigh the same over train."""
    advice = "Give the weights themselves: task.positive_weights=[1.0,2.0,...]."
    if shares is None:
        raise RecipeError(
            "task.positive_weights = balanced: how many examples have each label is not known for this dataset. "
            + advice
        )
    one_sided = [str(label) for label, share in enumerate(shares) if share in (0, 1)]
    if one_sided:
        raise RecipeError(
            f"task.positive_weights = balanced: all examples of train, or none, have label {', '.join(one_sided)}: "
            f"expected one with it and one without it at least. {advice}"
        )
    return [(1 - share) / share for share in shares]
