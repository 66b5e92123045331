"""What the script of a page of many runs is given: experiments, axes and curves as short as they can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from shoal.analysis import Mean
from shoal.pages import formats
from shoal.pages.axis_plots import axis_range
from shoal.pages.bundles import Bundle, Curves
from shoal.pages.series import lower_is_better
from shoal.pages.sweep_view import View


def script_data(view: View, curves: Curves) -> dict[str, Any]:
    """Return the data; every text in it is one that can be shown as it is."""
    grids: dict[tuple[float, ...], int] = {}
    drawn = [
        {"name": formats.clean(name), "bundles": [_bundle(one, grids) for one in bundles]}
        for name, bundles in curves.items()
    ]
    return {
        "metrics": [{"name": formats.clean(name), "lower": lower_is_better(name)} for name in view.metrics],
        "ranking": view.metrics.index(view.ranking) if view.ranking in view.metrics else 0,
        "axes": [_axis(view, at) for at in range(len(view.axes))],
        "experiments": [_experiment(view, number) for number in range(len(view.experiments))],
        "curves": drawn,
        "grids": [[_short(step) for step in grid] for grid in grids],
    }


def _axis(view: View, at: int) -> dict[str, Any]:
    axis = view.axes[at]
    found = axis_range(axis)
    return {"name": axis.short, "low": found.low, "high": found.high, "log": found.log, "marks": axis.marks}


def _experiment(view: View, number: int) -> dict[str, Any]:
    one = view.experiments[number]
    return {
        "name": formats.clean(view.names[number]),
        "at": [axis.place(one.config.get(axis.key)) for axis in view.axes],
        "results": [_result(view.results[number][metric]) for metric in view.metrics],
        "seeds": [member.seed for member in one.members],
    }


def _result(found: Mean | None) -> list[Any] | None:
    return None if found is None else [found.mean, found.deviation, found.n]


def _bundle(bundle: Bundle | None, grids: dict[tuple[float, ...], int]) -> list[Any] | None:
    if bundle is None:
        return None
    grid = grids.setdefault(tuple(bundle.steps), len(grids))
    return [grid, [_trimmed(run) for run in bundle.values]]


def _trimmed(values: Sequence[float]) -> list[float | int | None]:
    """Values with four digits that matter; those at the end that are missing are left out."""
    last = next((at for at in range(len(values), 0, -1) if math.isfinite(values[at - 1])), 0)
    return [_short(value) for value in values[:last]]


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.4g}") if abs(value) < 1e4 or not value.is_integer() else value
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded
