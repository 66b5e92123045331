"""What a recipe optimises and measures, and how many examples are measured at once."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch

from shoal import tasks
from shoal.assembly.objects import Objects
from shoal.datasets import Data
from shoal.errors import RecipeError
from shoal.recipe import Recipe
from shoal.tasks import Targets, Task

EVALUATION_BATCH = 512
"""Examples evaluated at once, at most, unless the recipe trains on more."""
EVALUATION_NUMBERS = 1 << 22
"""... and numbers in their inputs: a network keeps many times as many between its layers.

Results depend on both in the last bits, so they are no settings."""


def evaluation_batch(batch_size: int | Literal["all"], data: Data) -> int:
    """Return how many examples are evaluated at once: fewer where inputs are large or targets many (tokens)."""
    most = min(EVALUATION_BATCH, EVALUATION_NUMBERS // max(1, prod(data.input_shape)))
    return max(1 if batch_size == "all" else batch_size, most // prod(data.target_shape) if data.classes else most, 1)


def build_task(recipe: Recipe, data: Data, objects: Objects, device: torch.device) -> Task:
    """Return the task of a recipe for its data, with a loss passed from Python in place of its own."""
    targets = Targets(
        data.classes,
        data.target_shape,
        data.class_counts,
        device,
        characters_per_token=float((data.encoding or {}).get("characters_per_token", 1.0)),
        multilabel=data.multilabel,
        label_shares=data.label_shares,
    )
    if recipe.task.name == "external" and objects.loss is None:
        source = getattr(recipe.task, "source", "") or "a function"
        raise RecipeError(
            f"task.name = external: the loss is {source}, passed from Python, and nothing is imported because a file "
            "says so. Pass it again: loss=FUNCTION in shoal.train or shoal.load."
        )
    task = tasks.usual(targets) if recipe.task.name == "external" else tasks.build(recipe.task, targets)
    return task if objects.loss is None else tasks.with_loss(task, objects.loss)
