"""The figures of a page of many runs as files: curves, parallel coordinates, a plot for each key, maps of pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from shoal.pages import formats
from shoal.pages.axis_plots import axis_range, spread
from shoal.pages.band_chart import COLOURS, SHOWN
from shoal.pages.bundles import Bundle, curves_of
from shoal.pages.figures import INCHES, new, plain_marks, save_all
from shoal.pages.heat_maps import Heat, heats, number
from shoal.pages.sweep_view import View
from shoal.pages.varied import Axis

STYLES: Sequence[Any] = ("-", "--", ":", "-.", "-", "--", ":", "-.")
MOST_PLOTS = 10
LONGEST = 30


def draw_many(view: View, into: Path) -> list[Path]:
    """Write each figure as PNG and SVG into a folder; return the files. May raise OSError."""
    return save_all(_figures(view), into)


def _figures(view: View) -> Iterator[tuple[str, Any]]:
    for metric, bundles in curves_of(view.experiments).items():
        yield f"curves_{metric}", _curves(view, metric, bundles)
    if view.axes and any(any(one.values()) for one in view.results):
        yield "parallel", _parallel(view)
    for metric in view.metrics:
        for axis in view.axes[:MOST_PLOTS]:
            if spread(view, axis, metric).points:
                yield f"{metric}_over_{axis.short}", _axis_plot(view, axis, metric)
        for heat in heats(view, metric):
            yield f"{metric}_over_{heat.x.short}_and_{heat.y.short}", _heat_map(heat, metric)


def _curves(view: View, metric: str, bundles: Sequence[Bundle | None]) -> Any:
    figure, axes = new(INCHES)
    for rank, bundle in reversed(list(enumerate(bundles))):
        band = bundle.band() if bundle is not None else []
        steps, means = [point[0] for point in band], [point[1] for point in band]
        if rank >= SHOWN:
            axes.plot(steps, means, color="#999999", alpha=0.35, linewidth=0.6)
        elif band:
            axes.fill_between(
                steps, [one[2] for one in band], [one[3] for one in band], color=COLOURS[rank], alpha=0.15
            )
            label = _short(f"{rank + 1}. {view.names[rank]}")
            axes.plot(steps, means, color=COLOURS[rank], linestyle=STYLES[rank], linewidth=1.6, label=label)
    plain_marks(axes)
    axes.set_xlabel("step")
    axes.set_ylabel(formats.clean(metric))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=7)
    return figure


def _axis_plot(view: View, axis: Axis, metric: str) -> Any:
    figure, axes = new(INCHES)
    found = spread(view, axis, metric)
    pairs = [(place, value) for place, runs in found.points.values() for value in runs]
    axes.scatter([x for x, _ in pairs], [y for _, y in pairs], s=14, color=COLOURS[0], alpha=0.5, edgecolors="none")
    for points, style, label in ((found.means, "-", "mean"), (found.best, "--", "best experiment")):
        if points:
            colour = "black" if style == "-" else COLOURS[1]
            axes.plot([x for x, _ in points], [y for _, y in points], color=colour, linestyle=style, label=label)
    if found.means:
        axes.legend(frameon=False, fontsize=8)
    _scaled(axes, axis)
    axes.set_xlabel(formats.clean(axis.key))
    axes.set_ylabel(formats.clean(metric))
    return figure


def _scaled(axes: Any, axis: Axis) -> None:
    scale = axis_range(axis)
    if scale.log:
        axes.set_xscale("log")
    plain_marks(axes, steps=False)
    if scale.marked:
        axes.set_xticks([place for place, _ in scale.marked], [text for _, text in scale.marked])
    axes.set_xlim(scale.low, scale.high)


def _heat_map(heat: Heat, metric: str) -> Any:
    wide, high = len(heat.x.values), len(heat.y.values)
    figure, axes = new((min(14.0, 2.2 + 0.75 * wide), min(12.0, 1.6 + 0.5 * high)))
    rows = [[heat.cells.get((x, y), float("nan")) for x in range(wide)] for y in range(high)]
    shown = axes.imshow(rows, cmap="cividis", origin="lower", aspect="auto")
    figure.colorbar(shown, ax=axes, label=formats.clean(metric))
    axes.set_xticks(range(wide), [_short(text, 12) for text in heat.x.texts])
    axes.set_yticks(range(high), [_short(text, 12) for text in heat.y.texts])
    for (x, y), value in heat.cells.items():
        dark = "white" if heat.share(value) < 0.5 else "black"
        axes.text(x, y, number(value), ha="center", va="center", fontsize=8, color=dark)
    axes.set_xlabel(formats.clean(heat.x.key))
    axes.set_ylabel(formats.clean(heat.y.key))
    axes.grid(visible=False)
    return figure


def _parallel(view: View) -> Any:
    """All experiments over all axes; darker is better, by rank."""
    figure, axes = new((max(INCHES[0], 1.4 * (len(view.axes) + len(view.metrics))), INCHES[1]))
    columns = [_shares(view, axis) for axis in view.axes] + [_metric_shares(view, one) for one in view.metrics]
    colours: Any = import_module("matplotlib").colormaps["cividis_r"]
    for rank in reversed(range(len(view.experiments))):
        heights = [column[rank] for column in columns]
        colour = colours(1 - rank / len(view.experiments))
        axes.plot(range(len(columns)), heights, color=colour, linewidth=0.9, alpha=0.8)
    names = [axis.short for axis in view.axes] + list(view.metrics)
    axes.set_xticks(range(len(columns)), [_short(formats.clean(name), 18) for name in names])
    axes.set_yticks([])
    for at, axis in enumerate(view.axes):
        scale = axis_range(axis)
        for place, text in axis.marks:
            axes.text(at + 0.02, scale.share(place), _short(text, 12), fontsize=6)
    for at, metric in enumerate(view.metrics, len(view.axes)):
        found = [mean.mean for one in view.results if (mean := one[metric])]
        for height, text in ((0.0, min(found)), (1.0, max(found))) if found else ():
            axes.text(at + 0.02, height, number(text), fontsize=6)
    return figure


def _shares(view: View, axis: Axis) -> list[float]:
    scale = axis_range(axis)
    return [scale.share(axis.place(value)) for value in view.values(axis)]


def _metric_shares(view: View, metric: str) -> list[float]:
    means: list[Mapping[str, Any]] = list(view.results)
    found = [one[metric].mean if one[metric] else float("nan") for one in means]
    known = [value for value in found if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    return [(value - low) / (high - low) if high > low else 0.5 for value in found]


def _short(text: str, most: int = LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
