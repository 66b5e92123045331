"""Language modelling: the cross entropy of the next token at every place of a block.

Legend: outputs [B, T, V], targets [B, T] of int64. The loss of an example is the mean over its T places, in nats a
token; perplexity and bits a character are functions of its mean, so they cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from shoal.errors import RecipeError, TrainingError
from shoal.recipe.fields import Part
from shoal.tasks.metric import Metric, mean_of
from shoal.tasks.smoothing import smoothed_cross_entropy
from shoal.tasks.targets import Targets
from shoal.tasks.task import Task


def build(part: Part, targets: Targets) -> Task:
    """Build the recipe's `language_modelling`; raises RecipeError where a target is no block of tokens."""
    if targets.classes is None or len(targets.target_shape) != 1:
        what = "real-valued" if targets.classes is None else "one label an example"
        raise RecipeError(
            f"task.name = {part.name}: the targets of this dataset are {what}: expected a block of tokens an example. "
            "Choose dataset=text, or another task."
        )
    each = math.log(2) * targets.characters_per_token
    return Task(
        outputs=targets.classes,
        loss=cross_entropy,
        metrics={
            "perplexity": Metric(_nothing, lambda means: math.exp(min(means["loss"], 700.0)), higher_is_better=False),
            "bits_per_character": Metric(_nothing, lambda means: means["loss"] / each, higher_is_better=False),
            "accuracy": mean_of("accuracy", correct, higher_is_better=True),
        },
        smoothed=smoothed,
    )


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over places of -log p(target), [B]; raises TrainingError for outputs of another shape."""
    _check(outputs, targets)
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape).mean(1)


def smoothed(outputs: Tensor, targets: Tensor, smoothing: Tensor | float) -> Tensor:
    """Return the same with a share of each label spread evenly over all kinds of tokens, [B]."""
    _check(outputs, targets)
    return smoothed_cross_entropy(outputs.flatten(0, 1), targets.flatten(), smoothing).view(targets.shape).mean(1)


def _check(outputs: Tensor, targets: Tensor) -> None:
    if outputs.ndim != 3 or outputs.shape[:2] != targets.shape:
        raise TrainingError(
            f"the model's outputs have shape {list(outputs.shape)} and the targets {list(targets.shape)}: expected "
            "[batch, tokens, kinds of tokens]. Choose model=gpt, or a model of yours that returns that."
        )


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of an example's places whose largest output is that of the target, [B]."""
    return (outputs.argmax(-1) == targets).to(outputs.dtype).mean(1)


def _nothing(outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    del outputs, targets
    return {}
