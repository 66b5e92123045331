"""One quantity over the steps as a figure of HTML: a still drawing, which `page.js` lets a reader zoom.

Splits differ by colour (of Okabe and Ito, for any eyes) and by line style, and so do averaged weights; what was
measured once is a diamond, hollow for averaged weights. The script gets the same points as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from shoal.pages import formats
from shoal.pages.axes import Axes, Range, around, frame, svg
from shoal.pages.markup import Html, tag
from shoal.pages.series import Point, Quantity, Series, lower_is_better, thinned
from shoal.pages.splits import in_legend


@dataclass(frozen=True)
class Style:
    """How a series is drawn; the colour serves on light and dark, `page.css` has better ones for each."""

    kind: str
    colour: str
    dashes: str | None = None


STYLES = {
    "train": Style("train", "#2b88c9"),
    "valid": Style("valid", "#d9731a", "6 4"),
    "valid_average": Style("valid-average", "#a35fb0", "9 3 2 3"),
    "test": Style("test", "#1a9e77", "2 3"),
    "test_average": Style("test-average", "#1a9e77", "1 4"),
}
OTHER = Style("other", "#2b88c9")


def chart(quantity: Quantity, *, x_title: str = "step") -> Html:
    """Return the figure, with its legend, a sentence below it, and the points for the script."""
    series = [Series(one.name, thinned(one.points)) for one in quantity.series]
    points = sum(len(one.points) for one in quantity.series)
    whole = sum(len(one.points) for one in series) == points
    title = f"{quantity.name} ({quantity.unit})" if quantity.unit else quantity.name
    button = tag("button", "log axis", type="button", class_="log", hidden=True, aria_pressed="false")
    note = "" if whole else f" Drawn from {formats.count(points)} points: of each stretch its ends, least and largest."
    return tag(
        "figure",
        tag("figcaption", tag("b", title), legend(series), button if quantity.spans_decades else None),
        drawing(quantity, x_title=x_title),
        tag("output", in_words(quantity) + note),
        class_="chart",
        data_chart=json.dumps(_for_script(series), separators=(",", ":")),
    )


def drawing(quantity: Quantity, *, x_title: str = "step") -> Html:
    """Return the still drawing alone."""
    series = [Series(one.name, thinned(one.points)) for one in quantity.series]
    steps = [step for one in series for step, _ in one.points]
    x = around(steps, pad=0.0)
    axes = Axes(Range(x.low, x.high), around(quantity.values))
    lines = [_drawn(one, axes) for one in series]
    return svg(frame(axes, x_title=x_title), tag("g", lines, class_="lines"), label=in_words(quantity))


def in_words(quantity: Quantity) -> str:
    """Return what a chart shows as a sentence: each split's best value and its last."""
    lower = lower_is_better(quantity.name)
    told = [_series_in_words(one, lower=lower) for one in quantity.series]
    return "; ".join(word for word in told if word) + "."


def _series_in_words(series: Series, *, lower: bool) -> str:
    finite = [point for point in series.points if math.isfinite(point[1])]
    name = formats.clean(in_legend(series.name))
    if not finite:
        return f"{name}: never finite"
    last = formats.number(finite[-1][1])
    if series.name not in STYLES:
        first = formats.number(finite[0][1])
        return f"from {first} to {last}" if len({value for _, value in finite}) > 1 else f"{last} throughout"
    step, best = (min if lower else max)(finite, key=lambda point: point[1])
    if len(finite) == 1:
        return f"{name} {last}"
    word = "lowest" if lower else "highest"
    return f"{name} {last} at the end, {word} {formats.number(best)} at step {formats.count(int(step))}"


def legend(series: Sequence[Series]) -> Html | None:
    """Return the key to the lines of a drawing, None where there is nothing to tell apart."""
    if len(series) < 2 and not any(one.name in STYLES for one in series):
        return None
    return tag("span", [_key(one) for one in series], class_="legend")


def _key(series: Series) -> Html:
    style = STYLES.get(series.name, OTHER)
    mark = _mark(10, 7, style) if len(series.points) == 1 else _path("M1 7H25", style)
    drawn = tag("svg", mark, viewBox="0 0 26 14", width=26, height=14, aria_hidden="true")
    return tag("span", drawn, f" {in_legend(series.name)}", style="white-space:nowrap;margin-right:.9em")


def _drawn(series: Series, axes: Axes) -> Html:
    style = STYLES.get(series.name, OTHER)
    if len(series.points) == 1:
        return _mark(*axes.at(*series.points[0]), style)
    return _path(_outline(series.points, axes), style)


def _outline(points: Sequence[Point], axes: Axes) -> str:
    """A path through the points, interrupted where a value was not finite; a lone point is a dot."""
    pieces: list[str] = []
    drawing_line = False
    for step, value in points:
        if math.isfinite(value):
            x, y = axes.at(step, value)
            pieces.append(f"L{x:g} {y:g}" if drawing_line else f"M{x:g} {y:g}h0")
        drawing_line = math.isfinite(value)
    return "".join(pieces)


def _path(outline: str, style: Style) -> Html:
    return tag(
        "path",
        d=outline,
        class_=f"line {style.kind}",
        fill="none",
        stroke=style.colour,
        stroke_width=2,
        stroke_dasharray=style.dashes,
        stroke_linejoin="round",
        stroke_linecap="butt" if style.dashes else "round",
    )


def _mark(x: float, y: float, style: Style) -> Html:
    """A diamond: a value that was measured once; hollow, so that one behind it is seen, for averaged weights."""
    hollow = style.kind.endswith("-average")
    r = 7 if hollow else 5
    outline = f"M{x:g} {y - r:g}l{r} {r}l-{r} {r}l-{r} -{r}z"
    colours = {"fill": "none", "stroke": style.colour} if hollow else {"fill": style.colour, "stroke": "none"}
    return tag("path", d=outline, class_=f"mark {style.kind}", **colours)


def _for_script(series: Sequence[Series]) -> list[dict[str, object]]:
    return [
        {
            "name": formats.clean(in_legend(one.name)),
            "kind": STYLES.get(one.name, OTHER).kind,
            "dashes": STYLES.get(one.name, OTHER).dashes,
            "points": [[_short(x), _short(y)] for x, y in one.points],
        }
        for one in series
    ]


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(f"{value:.6g}")
