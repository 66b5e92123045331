"""Weighted means over batches with padding, as an engine takes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shoal.tasks import Metric


def measure(metric: Metric, batches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> float:
    """Return the metric over batches of (outputs, targets, weight)."""
    sums: dict[str, float] = {}
    for outputs, targets, weight in batches:
        for name, values in metric.statistics(outputs, targets).items():
            assert values.shape == weight.shape, name
            sums[name] = sums.get(name, 0.0) + float((values.to(torch.float64) * weight).sum())
    count = sum(float(weight.sum()) for _, _, weight in batches)
    return metric.finish({name: total / count for name, total in sums.items()})


def whole(metric: Metric, outputs: Tensor, targets: Tensor) -> float:
    """Return the metric over all examples as one batch."""
    return measure(metric, [(outputs, targets, torch.ones(len(outputs)))])


def padded(outputs: Tensor, targets: Tensor, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Cut into batches of `size`, the last filled with copies of the first example at weight 0."""
    batches: list[tuple[Tensor, Tensor, Tensor]] = []
    for first in range(0, len(outputs), size):
        index = torch.arange(first, first + size)
        real = index < len(outputs)
        index = torch.where(real, index, 0)
        batches.append((outputs[index], targets[index], real.to(torch.float32)))
    return batches
