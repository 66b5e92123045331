"""Targets and predictions of a regression as a still drawing: points on the diagonal are right."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shoal.pages.axes import Axes, around, frame, svg
from shoal.pages.markup import Html, tag
from shoal.pages.series import Point

RADIUS = 2.6


def scatter(pairs: Sequence[Point], *, title: str) -> Html:
    """Return the figure of pairs (target, prediction); what is not finite is left out, and said."""
    known = [pair for pair in pairs if all(map(math.isfinite, pair))]
    left = len(pairs) - len(known)
    note = f" {left} of {len(pairs)} predictions were not finite." if left else ""
    caption = tag("figcaption", tag("b", title))
    if not known:
        return tag("figure", caption, tag("output", f"There is nothing to draw.{note}"), class_="chart")
    both = around(value for pair in known for value in pair)
    axes = Axes(both, both)
    (x1, y1), (x2, y2) = axes.at(both.low, both.low), axes.at(both.high, both.high)
    diagonal = tag(
        "line", x1=x1, y1=y1, x2=x2, y2=y2, stroke="currentColor", stroke_opacity="0.5", stroke_dasharray="4 4"
    )
    dots = [tag("circle", cx=x, cy=y, r=RADIUS) for x, y in (axes.at(*pair) for pair in known)]
    drawn = svg(
        frame(axes, x_title="target", y_title="prediction"),
        diagonal,
        tag("g", dots, class_="dots", fill="#2b88c9", fill_opacity="0.55"),
        label=f"{title}: predictions over targets, {len(known)} examples",
    )
    sentence = f"{len(known)} examples; those on the dashed line are predicted exactly.{note}"
    return tag("figure", caption, drawn, tag("output", sentence), class_="chart")
