"""One pass over a split: every metric as a weighted mean of statistics, padding weighing nothing.

A model that draws random numbers even when it is evaluated draws the same ones in every evaluation of a seed, and
training's generators are left as they were: how often a run is evaluated changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from shoal.datasets import Batch, Batches
from shoal.errors import DataError, TrainingError
from shoal.rng import key, preserved, seed_all
from shoal.tasks import Task

Address = tuple[str, str]
LOSS: Address = ("loss", "loss")


Observer = Callable[[Batch, Tensor, Tensor], None]
"""What sees a pass as it goes: a batch, its outputs, its losses ([B], or [] where the task gives one a batch)."""


def evaluate(
    forward: Callable[[Any], Tensor], task: Task, batches: Batches, *, seed: int, observer: Observer | None = None
) -> dict[str, float]:
    """Return the loss and every metric of a task over one pass. Sums are kept in float64; one wait at the end.

    An observer looks on, and changes nothing of what it is given.

    Raises DataError for a split of no examples.
    """
    sums: dict[Address, Tensor] = {}
    count = 0
    with torch.no_grad(), preserved():
        seed_all(key(seed, "evaluate"))
        for batch in batches.start():
            outputs = forward(batch.inputs)
            losses = task.loss(outputs, batch.targets)
            for address, total in _totals(task, outputs, losses, batch).items():
                sums[address] = sums[address] + total if address in sums else total
            if observer is not None:
                observer(batch, outputs, losses)
            count += batch.size
    if not count:
        raise DataError("a split without examples cannot be evaluated: expected one at least.")
    means = {address: total / count for address, total in zip(sums, _on_host(sums), strict=True)}
    metrics = {"loss": means.pop(LOSS)}
    for name, metric in task.metrics.items():
        own = {key: value for (owner, key), value in means.items() if owner == name}
        metrics[name] = metric.finish({"loss": metrics["loss"], **own})
    return metrics


def as_row(split: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics under their public names: `split.metric`.

    >>> as_row("valid", {"loss": 0.5})
    {'valid.loss': 0.5}
    """
    return {f"{split}.{name}": value for name, value in metrics.items()}


def _totals(task: Task, outputs: Tensor, losses: Tensor, batch: Batch) -> dict[Address, Tensor]:
    """The sum over a batch's examples of the loss and of every statistic."""
    if losses.ndim == 0:
        if batch.weight is not None:
            raise TrainingError(
                "the loss function returns one number a batch, and this batch is padded: its padding would count. "
                "Return one value an example, or take batches with pad=False."
            )
        losses = losses.expand(batch.size)
    statistics = {LOSS: losses}
    for name, metric in task.metrics.items():
        statistics |= {(name, key): values for key, values in metric.statistics(outputs, batch.targets).items()}
    return {address: _sum(values, batch.weight) for address, values in statistics.items()}


def _sum(values: Tensor, weight: Tensor | None) -> Tensor:
    """Sum over examples, as float64 where the device has it. Padding is masked, since 0 times infinity is not 0."""
    wide = values.to(torch.float32 if values.device.type == "mps" else torch.float64)
    return wide.sum() if weight is None else torch.where(weight > 0, wide * weight, 0.0).sum()


def _on_host(sums: Mapping[Address, Tensor]) -> list[float]:
    return cast("list[float]", torch.stack(list(sums.values())).tolist())
