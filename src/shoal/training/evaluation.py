"""One pass over a split: every metric as a weighted mean of statistics, padding weighing nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from shoal.datasets import Batch, Batches
from shoal.tasks import Task


def evaluate(forward: Callable[[Any], Tensor], task: Task, batches: Batches) -> dict[str, float]:
    """Return the loss and every metric of a task over one pass. Sums are kept in float64; one wait at the end."""
    sums: dict[tuple[str, str], Tensor] = {}
    count = 0
    with torch.no_grad():
        for batch in batches.start():
            outputs = forward(batch.inputs)
            for address, total in _totals(task, outputs, batch):
                sums[address] = sums[address] + total if address in sums else total
            count += batch.size
    means = {address: float(total.item()) / count for address, total in sums.items()}
    metrics = {"loss": means.pop(("loss", "loss"))}
    for name, metric in task.metrics.items():
        metrics[name] = metric.finish({key: value for (owner, key), value in means.items() if owner == name})
    return metrics


def _totals(task: Task, outputs: Tensor, batch: Batch) -> list[tuple[tuple[str, str], Tensor]]:
    losses = task.loss(outputs, batch.targets)
    if losses.ndim == 0:
        losses = losses.expand(batch.size)
    statistics: dict[tuple[str, str], Tensor] = {("loss", "loss"): losses}
    for name, metric in task.metrics.items():
        for key, values in metric.statistics(outputs, batch.targets).items():
            statistics[name, key] = values
    return [(address, _sum(values, batch.weight)) for address, values in statistics.items()]


def _sum(values: Tensor, weight: Tensor | None) -> Tensor:
    """Sum over examples, as float64 where the device has it. Padding is masked, since 0 times infinity is not 0."""
    wide = values.to(torch.float32 if values.device.type == "mps" else torch.float64)
    return wide.sum() if weight is None else torch.where(weight > 0, wide * weight, 0.0).sum()


def as_row(split: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics under their public names: `split.metric`."""
    return {f"{split}.{name}": value for name, value in metrics.items()}
