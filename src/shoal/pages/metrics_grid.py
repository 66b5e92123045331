"""The metrics of one run as a table: metrics as rows, splits as columns, averaged weights beside the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shoal.pages import formats
from shoal.pages.blocks import Column, Grid
from shoal.pages.series import OF_CLIPPING
from shoal.pages.splits import splits_of, title


def metrics_grid(metrics: Mapping[str, Any]) -> Grid:
    """Return the table of `{"test.accuracy": 0.98, ...}`."""
    splits = splits_of(metrics)
    names = rows_of(metrics)
    columns = [Column("metric"), *(Column(title(split), right=True) for split in splits)]
    return Grid(columns, [[formats.clean(name), *_values(metrics, name, splits)] for name in names])


def rows_of(metrics: Iterable[str]) -> list[str]:
    """Return the metrics without their splits, in the order in which they come; what clipping adds comes last.

    >>> rows_of(["train.loss", "train.grad_norm", "valid.loss", "valid.accuracy"])
    ['loss', 'accuracy', 'grad_norm']
    """
    return sorted(dict.fromkeys(name.partition(".")[2] for name in metrics), key=lambda name: name in OF_CLIPPING)


def _values(metrics: Mapping[str, Any], name: str, splits: list[str]) -> list[str]:
    return [formats.number(metrics.get(f"{split}.{name}")) for split in splits]
