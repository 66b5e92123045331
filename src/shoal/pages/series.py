"""What history.jsonl and timing.jsonl hold, as series to be drawn: one quantity, its splits, thinned where long."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shoal.pages.lenient import real
from shoal.pages.splits import split_of, splits_of

Rows = Sequence[Mapping[str, Any]]
Point = tuple[float, float]
MOST_STEPS = 2.0**53
"""A step beyond is none: no run has as many."""
MOST = 600
"""Points of a series that are drawn."""
FALLING = ("loss", "error", "mse", "mae", "huber", "perplexity", "bits_per_character")
"""Metrics that fall as a run gets better, by their last word."""
MAIN = ("bits_per_character", "accuracy", "r2", "f1", "perplexity", "mae", "loss")
"""Metrics by how much they say of a run, the first most."""
OF_CLIPPING = {"grad_norm": "norm of the gradient", "clipped": "share of clipped steps"}
"""What clipping adds to train, which is no metric of a task, and what a chart calls it."""
LOG_SPAN = 30.0
"""How much the largest value must be of the smallest for a logarithmic axis to help."""


@dataclass(frozen=True)
class Series:
    """The values of one split (`splits.MEASURED`) over the steps; a value that was not finite is NaN."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Quantity:
    """What is drawn in one chart."""

    name: str
    series: Sequence[Series]
    unit: str = ""

    @property
    def values(self) -> list[float]:
        """All finite values."""
        return [value for series in self.series for _, value in series.points if math.isfinite(value)]

    @property
    def spans_decades(self) -> bool:
        """Whether a logarithmic axis is possible, and helps."""
        values = self.values
        return bool(values) and min(values) > 0 and max(values) > LOG_SPAN * min(values)


def lower_is_better(metric: str) -> bool:
    """Return whether a metric falls as a run gets better, as far as its name says.

    >>> lower_is_better("valid.loss"), lower_is_better("valid.accuracy"), lower_is_better("test.mae")
    (True, False, True)
    """
    last = metric.rpartition(".")[2]
    return last in FALLING or last.endswith(("_loss", "_error"))


def points(rows: Rows, name: str) -> list[Point]:
    """Return steps and values of a key, in the order of rows; null is how what was not finite is written."""
    found: list[Point] = []
    for row in rows:
        step, value = real(row.get("step")), real(row.get(name))
        if step is not None and abs(step) < MOST_STEPS and name in row and (value is not None or row[name] is None):
            found.append((step, math.nan if value is None else value))
    return found


def quantities(rows: Rows) -> list[Quantity]:
    """Return every metric of a history, loss first, then accuracy, clipping last; the splits of one metric together."""
    keys = dict.fromkeys(key for row in rows for key in row if split_of(key))
    names, splits = list(dict.fromkeys(key.partition(".")[2] for key in keys)), splits_of(keys)
    names.sort(key=_place)
    found = [
        Quantity(
            OF_CLIPPING.get(name, name),
            [Series(split, points(rows, f"{split}.{name}")) for split in splits if f"{split}.{name}" in keys],
        )
        for name in names
    ]
    return [quantity for quantity in found if quantity.values]


def _place(name: str) -> int:
    first = ("loss", "accuracy")
    return first.index(name) if name in first else 3 if name in OF_CLIPPING else 2


def hypers(rows: Rows) -> list[Quantity]:
    """Return the scheduled hyperparameters, the learning rate first."""
    keys = dict.fromkeys(key for row in rows for key in row if "." not in key and key not in ("step", "epoch"))
    names = sorted(keys, key=lambda key: key != "lr")
    titles = {"lr": "learning rate"}
    found = [Quantity(titles.get(name, name.replace("_", " ")), [Series(name, points(rows, name))]) for name in names]
    return [quantity for quantity in found if quantity.values]


def rate(timing: Rows) -> Quantity | None:
    """Return the examples a second over the steps."""
    drawn = points(timing, "examples_per_second")
    return Quantity("examples per second", [Series("rate", drawn)]) if len(drawn) > 1 else None


def thinned(drawn: Sequence[Point], most: int = MOST) -> list[Point]:
    """Return at most about `most` points that look the same: of each stretch its ends, least and largest.

    >>> len(thinned([(float(x), float(x % 7)) for x in range(9999)])) <= 600
    True
    """
    if len(drawn) <= most:
        return list(drawn)
    stretch = -(-len(drawn) * 4 // most)
    kept: list[Point] = []
    for low in range(0, len(drawn), stretch):
        part = drawn[low : low + stretch]
        finite = [point for point in part if math.isfinite(point[1])] or part
        chosen = {part[0], min(finite, key=_value), max(finite, key=_value), part[-1]}
        kept += sorted(chosen)
    return kept


def _value(point: Point) -> float:
    return point[1]
