"""The metrics of one run as a table: metrics as rows, splits as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.pages import formats
from shoal.pages.blocks import Column, Grid

SPLITS = ("train", "valid", "test")


def metrics_grid(metrics: Mapping[str, Any]) -> Grid:
    """Return the table of `{"test.accuracy": 0.98, ...}`."""
    splits = [split for split in SPLITS if any(name.startswith(f"{split}.") for name in metrics)]
    names = list(dict.fromkeys(name.partition(".")[2] for name in metrics))
    columns = [Column("metric"), *(Column(split, right=True) for split in splits)]
    return Grid(columns, [[formats.clean(name), *_values(metrics, name, splits)] for name in names])


def _values(metrics: Mapping[str, Any], name: str, splits: list[str]) -> list[str]:
    return [formats.number(metrics.get(f"{split}.{name}")) for split in splits]
