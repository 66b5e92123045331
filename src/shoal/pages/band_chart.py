"""Curves of the best experiments as a still drawing: the mean over seeds as a line, the least and largest as a band.

Experiments differ by colour, by dashes and by the number at the end of the line, which is their rank.
"""

from __future__ import annotations

from collections.abc import Sequence

from shoal.pages.axes import HEIGHT, RIGHT, TOP, WIDTH, Axes, Range, around, frame, svg
from shoal.pages.bundles import Bundle
from shoal.pages.markup import Html, tag

SHOWN = 8
COLOURS = ("#0072b2", "#c24e00", "#00805d", "#8a3d99", "#8a5a00", "#b3266b", "#3d6ea5", "#5c6a00")
DASHES = (None, "7 3", "2 3", "9 3 2 3", None, "7 3", "2 3", "9 3 2 3")
APART = 12
"""How far the numbers at the ends of lines are apart."""


def band_chart(bundles: Sequence[Bundle | None], *, label: str) -> Html | None:
    """Return the drawing of the first `SHOWN` experiments, None where they have no curve."""
    shown = {rank: one.band() for rank, one in enumerate(bundles[:SHOWN]) if one is not None}
    every = [point for band in shown.values() for point in band]
    if not every:
        return None
    x = around((step for step, *_ in every), pad=0.0)
    axes = Axes(Range(x.low, x.high), around(value for _, _, *ends in every for value in ends))
    lines = [_drawn(rank, band, axes) for rank, band in reversed(shown.items())]
    ends = _ends({rank: axes.at(band[-1][0], band[-1][1])[1] for rank, band in shown.items()})
    return svg(frame(axes, x_title="step"), lines, ends, label=label)


def key(rank: int) -> Html:
    """Return a piece of an experiment's line, to stand beside its name."""
    line = tag("path", d="M1 7H25", class_=f"line c{rank}", fill="none", stroke=COLOURS[rank], stroke_width=2)
    dashed = Html(line.replace("/>", f' stroke-dasharray="{DASHES[rank]}"/>')) if DASHES[rank] else line
    return tag("svg", dashed, viewBox="0 0 26 14", width=26, height=14, aria_hidden="true")


def _drawn(rank: int, band: Sequence[tuple[float, float, float, float]], axes: Axes) -> Html:
    upper = [axes.at(step, high) for step, _, _, high in band]
    lower = [axes.at(step, low) for step, _, low, _ in reversed(band)]
    line = [axes.at(step, mean) for step, mean, _, _ in band]
    return tag(
        "g",
        tag("path", d=f"{_through([*upper, *lower])}z", class_=f"band c{rank}", fill=COLOURS[rank], fill_opacity=0.15),
        tag(
            "path",
            d=_through(line) if len(line) > 1 else f"M{line[0][0]:g} {line[0][1]:g}h0",
            class_=f"line c{rank}",
            fill="none",
            stroke=COLOURS[rank],
            stroke_width=2 if len(line) > 1 else 6,
            stroke_dasharray=DASHES[rank],
            stroke_linejoin="round",
            stroke_linecap="round" if len(line) < 2 else None,
        ),
    )


def _through(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _ends(heights: dict[int, float]) -> list[Html]:
    """The ranks at the right edge, beside the ends of their lines, moved apart where those meet."""
    found: list[Html] = []
    last = -1e9
    for rank, top in sorted(heights.items(), key=lambda item: item[1]):
        last = min(max(top, last + APART), HEIGHT - 1.0)
        place = {"x": WIDTH - RIGHT + 1, "y": round(max(last, TOP) + 4, 1)}
        found.append(tag("text", rank + 1, class_=f"rank c{rank}", fill=COLOURS[rank], **place))
    return found
