"""A metric in two halves: statistics of each example, then one number from their weighted means.

The halves make a metric exact whatever the batch size and the padding: the mean of a statistic over all examples is
the same however they were cut into batches, while the mean of the batches' own R2 or perplexity is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """Statistics of each example, and the function that finishes their weighted means into the metric.

    `statistics(outputs, targets)` returns tensors [B] of any number type or bool, on the outputs' device, without
    synchronising. `finish` gets the weighted mean of each over all examples, padding left out, and that of the loss as
    `loss`: a metric that is a function of it needs no statistics.
    """

    statistics: Callable[[Tensor, Tensor], Mapping[str, Tensor]]
    finish: Callable[[Mapping[str, float]], float]
    higher_is_better: bool
    in_training: bool = False
    """Also measured on training batches as they go, so it must be cheap."""


def mean_of(
    name: str, statistic: Callable[[Tensor, Tensor], Tensor], *, higher_is_better: bool, in_training: bool = False
) -> Metric:
    """Return the metric that is the plain mean of one statistic [B] of each example.

    >>> mean_of("error", lambda o, t: (o - t).abs(), higher_is_better=False).finish({"error": 0.5})
    0.5
    """
    return Metric(
        statistics=lambda outputs, targets: {name: statistic(outputs, targets)},
        finish=lambda means: means[name],
        higher_is_better=higher_is_better,
        in_training=in_training,
    )
