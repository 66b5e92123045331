"""Curves of metrics over steps, drawn with block characters: for a terminal, a log, a mail."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shoal.pages import formats
from shoal.pages.blocks import width

BLOCKS = " ▁▂▃▄▅▆▇█"
MISSING = "·"

FEWEST = 30
"""Columns of a drawing of few points."""

Point = tuple[float, float]


def curve(title: str, points: Sequence[Point], *, columns: int = 60, rows: int = 5) -> list[str]:
    """Return a drawing of `points` (step, value): a title with first, extreme and last value, then an axis and columns.

    Each column is the mean of its steps; where a value is not finite the column shows a dot.

    >>> print("\\n".join(curve("loss", [(0, 2.0), (1, 0.5), (2, 1.0)], columns=3, rows=2)))
    loss: 2.000 → 1.000 (lowest 0.5000 at step 1)
    2.000  |█
    0.5000 |█▁▆
            step 0 to 2
    """
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    if not finite:
        return []
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    drawn = _columns(points, min(columns, max(len(points), FEWEST)))
    labels = [formats.number(high), *[""] * (rows - 2), formats.number(low)][-rows:]
    margin = max(map(width, labels))
    lines = [
        f"{label:<{margin}} |{_row(drawn, low, high, rows - 1 - index, rows)}" for index, label in enumerate(labels)
    ]
    first, last = formats.count(int(points[0][0])), formats.count(int(points[-1][0]))
    return [_title(title, finite), *(line.rstrip() for line in lines), f"{' ' * margin}  step {first} to {last}"]


def _title(title: str, points: Sequence[Point]) -> str:
    lower = "loss" in title or "error" in title or title.endswith((".mse", ".mae", ".huber"))
    step, value = (min if lower else max)(points, key=lambda point: point[1])
    first, last = formats.number(float(points[0][1])), formats.number(float(points[-1][1]))
    if value == points[-1][1]:
        return f"{title}: {first} → {last}"
    word = "lowest" if lower else "highest"
    return f"{title}: {first} → {last} ({word} {formats.number(float(value))} at step {formats.count(int(step))})"


def _columns(points: Sequence[Point], columns: int) -> list[float]:
    """The mean of each column's values; columns share the steps equally, and an empty one repeats the one before."""
    first, last = points[0][0], points[-1][0]
    share = (last - first) / columns or 1.0
    gathered: list[list[float]] = [[] for _ in range(columns)]
    for step, value in points:
        gathered[min(columns - 1, int((step - first) / share))].append(value)
    means: list[float] = []
    for values in gathered:
        means.append(sum(values) / len(values) if values else means[-1])
    return means


def _row(values: Sequence[float], low: float, high: float, level: int, rows: int) -> str:
    """One line of the drawing; level 0 is the lowest. The lowest value is drawn one eighth high, so that it is seen."""
    cells: list[str] = []
    for value in values:
        if not math.isfinite(value):
            cells.append(MISSING if level == 0 else " ")
            continue
        span = high / 2 - low / 2  # halves: the difference of two finite values may not be finite
        share = (value / 2 - low / 2) / span if span > 0 else 0.0
        eighths = 1 + round(share * (8 * rows - 1)) - 8 * level
        cells.append(BLOCKS[max(0, min(8, eighths))])
    return "".join(cells)
