"""The frame of a chart as SVG: ranges, marks, and where a value lies. What is drawn in it is in `chart` and `scatter`.

Texts and lines take the page's colour (`currentColor`), so that a chart is readable on light and dark alike.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from shoal.pages import ticks
from shoal.pages.markup import Html, tag

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 10, 38
FONT = 13
LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Range:
    """The values from one end of an axis to the other; on a logarithmic one both are above 0."""

    low: float
    high: float
    log: bool = False
    marked: tuple[tuple[float, str], ...] = ()
    """Where the axis is labelled and with what; round numbers where nothing is said."""

    def share(self, value: float) -> float:
        """Return how far along the axis a value is, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else -1.0
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def marks(self, most: int) -> list[tuple[float, str]]:
        """Return where the axis is labelled, and with what."""
        if self.marked:
            return list(self.marked)
        values = (ticks.logarithmic if self.log else ticks.linear)(self.low, self.high, most=most)
        return [(value, ticks.label(value)) for value in values]


@dataclass(frozen=True)
class Axes:
    """Both axes of a chart."""

    x: Range
    y: Range

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point in the drawing."""
        across, up = self.x.share(x), self.y.share(y)
        left = LEFT + across * (WIDTH - LEFT - RIGHT)
        top = HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
        return round(left, 1), round(top, 1)


def around(values: Iterable[float], *, pad: float = 0.04) -> Range:
    """Return a range that holds all values with a little room; of one value, a range about it."""
    known = list(values)
    low, high = min(known), max(known)
    if low == high:
        room = abs(low) * 0.5 or 0.5
    else:
        room = (high / 2 - low / 2) * 2 * pad if math.isfinite(high - low) else 0.0
    return Range(max(low - room, -LARGEST), min(high + room, LARGEST))


def around_logs(values: Iterable[float], *, pad: float = 0.05) -> Range:
    """Return a logarithmic range that holds all values, which are above 0, with a little room."""
    known = list(values)
    low, high = min(known), max(known)
    room = pad * math.log(high / low) if low < high and math.isfinite(high / low) else math.log(2)
    return Range(max(low * math.exp(-room), sys.float_info.min), min(high * math.exp(room), LARGEST), log=True)


def frame(axes: Axes, *, x_title: str, y_title: str = "") -> Html:
    """Return grid lines, marks and titles of the axes."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts: list[Html] = []
    for value, label in axes.y.marks(5):
        _, top = axes.at(axes.x.low, value)
        parts.append(_line(LEFT, top, right, top))
        parts.append(_text(label, LEFT - 6, top + 4, "end"))
    for value, label in axes.x.marks(6):
        left, _ = axes.at(value, axes.y.low)
        parts.append(_line(left, bottom, left, bottom + 4))
        parts.append(_text(label, left, bottom + 17, "middle"))
    parts.append(_text(x_title, right, HEIGHT - 5, "end"))
    if y_title:
        parts.append(_text(y_title, LEFT - 62, TOP + 2, "start"))
    parts.append(_line(LEFT, bottom, right, bottom))
    return tag("g", parts, class_="frame")


def svg(*contents: object, label: str) -> Html:
    """Return the drawing; `label` says in words what it shows."""
    return tag(
        "svg",
        *contents,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=label,
        font_size=FONT,
        font_family="system-ui, sans-serif",
        style="width:100%;height:auto;display:block",
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> Html:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke="currentColor", stroke_opacity="0.22")


def _text(text: str, x: float, y: float, anchor: str) -> Html:
    return tag("text", text, x=x, y=y, text_anchor=anchor, fill="currentColor", fill_opacity="0.8")
