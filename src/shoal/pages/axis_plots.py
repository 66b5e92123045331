"""What one hyperparameter does to a metric: every run as a point, the mean at each value as a line.

Other keys vary too, so the mean is over them; the best experiment at each value is a second, dashed line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shoal.analysis import mean_of
from shoal.pages.axes import Axes, Range, around, around_logs, frame, svg
from shoal.pages.markup import Html, tag
from shoal.pages.series import lower_is_better
from shoal.pages.sweep_view import View
from shoal.pages.varied import LOG, NAMES, Axis

MOST_MEANS = 24
"""Different values up to which means are drawn: beyond, each has hardly more than one experiment."""
NAME_ROOM = 390
"""Room for the names at an axis, in the units of the drawing."""


@dataclass(frozen=True)
class Spread:
    """The results at the values of a key: for each experiment its place and its runs, and the lines through them."""

    points: Mapping[int, tuple[float, Sequence[float]]]
    means: Sequence[tuple[float, float]]
    best: Sequence[tuple[float, float]]
    """Empty where there is one experiment at each value."""


def spread(view: View, axis: Axis, metric: str) -> Spread:
    """Return what a plot of an axis shows."""
    points: dict[int, tuple[float, Sequence[float]]] = {}
    at: dict[float, list[list[float]]] = {}
    for number, experiment in enumerate(view.experiments):
        runs = list(experiment.results(metric).values())
        if runs:
            place = axis.place(experiment.config.get(axis.key))
            points[number] = (place, runs)
            at.setdefault(place, []).append(runs)
    if len(at) > MOST_MEANS:
        return Spread(points, [], [])
    best_of = min if lower_is_better(metric) else max
    means = [(place, _mean([value for runs in at[place] for value in runs])) for place in sorted(at)]
    best = [(place, best_of(_mean(runs) for runs in at[place])) for place in sorted(at)]
    return Spread(points, means, best if any(len(there) > 1 for there in at.values()) else [])


def axis_plot(view: View, axis: Axis, metric: str) -> Html | None:
    """Return the drawing, None where no run has the metric."""
    found = spread(view, axis, metric)
    if not found.points:
        return None
    axes = Axes(axis_range(axis), around(value for _, runs in found.points.values() for value in runs))
    dots = [_dots(number, place, runs, axes) for number, (place, runs) in found.points.items()]
    lines = [_line(found.best, axes, "best"), _line(found.means, axes, "mean")]
    told = _in_words(axis, found, metric)
    return svg(frame(axes, x_title=axis.short), tag("g", dots, class_="runs"), lines, label=told)


def axis_range(axis: Axis) -> Range:
    """Return the range that an axis is drawn on."""
    places = [axis.place(value) for value in axis.values]
    fitting = tuple(axis.marks) if sum(9 * len(text) + 6 for _, text in axis.marks) < NAME_ROOM else ()
    if axis.scale == LOG:
        found = around_logs(places)
        return Range(found.low, found.high, log=True, marked=fitting)
    if axis.scale == NAMES:
        most = max(3, NAME_ROOM // (8 * max(1, len(places))))
        marks = [(place, text if len(text) <= most else f"{text[: most - 1]}…") for place, text in axis.marks]
        return Range(-0.5, len(places) - 0.5, marked=tuple(marks))
    found = around(places)
    return Range(found.low, found.high, marked=fitting)


def _mean(values: Sequence[float]) -> float:
    found = mean_of(values)
    assert found is not None
    return found.mean


def _dots(number: int, place: float, runs: Sequence[float], axes: Axes) -> Html:
    outline = "".join(f"M{x:g} {y:g}h0" for x, y in (axes.at(place, value) for value in runs))
    return tag(
        "path",
        d=outline,
        data_e=number,
        class_="run",
        stroke="#2b88c9",
        stroke_width=6,
        stroke_linecap="round",
        stroke_opacity=0.5,
    )


def _line(points: Sequence[tuple[float, float]], axes: Axes, kind: str) -> Html | None:
    if len(points) < 2:
        return None
    outline = "M" + "L".join(f"{x:g} {y:g}" for x, y in (axes.at(*point) for point in points))
    dashes = "6 4" if kind == "best" else None
    return tag("path", d=outline, class_=kind, fill="none", stroke="currentColor", stroke_dasharray=dashes)


def _in_words(axis: Axis, found: Spread, metric: str) -> str:
    runs = sum(len(values) for _, values in found.points.values())
    if not found.means:
        return f"{metric} of {runs} runs at {len(axis.values)} values of {axis.key}"
    place, value = (min if lower_is_better(metric) else max)(found.means, key=lambda point: point[1])
    named = next(text for text, one in zip(axis.texts, axis.values, strict=True) if axis.place(one) == place)
    return f"{metric} of {runs} runs: the mean is best at {axis.key}={named}, {value:.4g}"
