"""What is said once at the start, of keys that are allowed and may not do what was meant: nothing is refused for it."""

from __future__ import annotations

from collections.abc import Iterator

from shoal.datasets import Data, Examples
from shoal.recipe import Recipe
from shoal.recipe.optimizer_parts import Lbfgs, OptimizerPart
from shoal.recipe.parts import DatasetPart


def remarks(recipe: Recipe, data: Data, batch_size: int) -> list[str]:
    """Return a sentence for each such key of a recipe whose steps are of `batch_size` examples."""
    optimizer, dataset = recipe.optimizer, recipe.dataset
    assert isinstance(optimizer, OptimizerPart) and isinstance(dataset, DatasetPart)
    return [*_of_optimizer(optimizer, data, batch_size), *_of_workers(dataset, data)]


def _of_optimizer(part: OptimizerPart, data: Data, batch_size: int) -> Iterator[str]:
    whole = data.sizes.get("train")
    if isinstance(part, Lbfgs) and batch_size != whole:
        times = part.evaluations or part.iterations * 5 // 4
        yield (
            f"optimizer=lbfgs computes loss and gradient up to {times:,} times a step, here on {batch_size:,} examples "
            "only: it is slow so, and what it learns of the curvature is of other examples each time; batch_size=all "
            "is what it is for"
        )


def _of_workers(part: DatasetPart, data: Data) -> Iterator[str]:
    if part.workers and all(isinstance(split, Examples) for split in data.splits.values()):
        yield (
            f"dataset.workers = {part.workers:,} has no effect: the examples of dataset.name = {part.name} are in "
            "memory, and the training process takes them from there"
        )
