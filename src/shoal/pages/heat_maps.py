"""A metric over pairs of hyperparameters: the mean over all runs with both values, as colour and as a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from shoal.analysis import mean_of
from shoal.pages.markup import Html, tag
from shoal.pages.sweep_view import View
from shoal.pages.varied import Axis, text_of

MOST_VALUES = 16
"""Different values of a key up to which it has a map."""
MOST_MAPS = 15
CIVIDIS = ((0, 34, 78), (61, 77, 107), (108, 110, 114), (149, 143, 120), (189, 178, 109), (254, 232, 56))
CELL, SIDE, LEFT, TOP, BELOW = (60, 34), 8, 84, 6, 40


@dataclass(frozen=True)
class Heat:
    """A metric over two keys: cells by the places of their values, x then y."""

    x: Axis
    y: Axis
    cells: Mapping[tuple[int, int], float]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest."""
        return min(self.cells.values()), max(self.cells.values())

    def share(self, value: float) -> float:
        """Return how far between the least and the largest a value is, from 0 to 1."""
        low, high = self.ends
        return (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5


def pairs_of(view: View) -> list[tuple[Axis, Axis]]:
    """Return the pairs of keys whose values are few enough for a map."""
    return list(combinations([axis for axis in view.axes if len(axis.values) <= MOST_VALUES], 2))


def heats(view: View, metric: str) -> Iterator[Heat]:
    """Return the maps of a metric, one for each pair of keys that has a result, at most `MOST_MAPS`."""
    for x, y in pairs_of(view)[:MOST_MAPS]:
        cells = _cells(view, x, y, metric)
        if cells:
            yield Heat(x, y, cells)


def _cells(view: View, x: Axis, y: Axis, metric: str) -> dict[tuple[int, int], float]:
    runs: dict[tuple[int, int], list[float]] = {}
    for one in view.experiments:
        place = tuple(axis.texts.index(text_of(one.config.get(axis.key))) for axis in (x, y))
        runs.setdefault((place[0], place[1]), []).extend(one.results(metric).values())
    return {place: found.mean for place, values in runs.items() if (found := mean_of(values))}


def heat_map(heat: Heat, metric: str) -> Html:
    """Return the drawing."""
    wide, high = CELL
    width, height = LEFT + wide * len(heat.x.values) + SIDE, TOP + high * len(heat.y.values) + BELOW
    cells = [_cell(heat, place, value) for place, value in heat.cells.items()]
    low, most = heat.ends
    told = f"{metric} over {heat.x.key} and {heat.y.key}: from {low:.4g} to {most:.4g}"
    return tag(
        "svg",
        cells,
        _marks(heat),
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=told,
        font_size=12,
        font_family="system-ui, sans-serif",
        style=f"width:100%;max-width:{width}px;height:auto;display:block",
    )


def _at(heat: Heat, place: tuple[int, int]) -> tuple[int, int]:
    return LEFT + place[0] * CELL[0], TOP + (len(heat.y.values) - 1 - place[1]) * CELL[1]


def _cell(heat: Heat, place: tuple[int, int], value: float) -> Html:
    left, top = _at(heat, place)
    colour = colour_of(heat.share(value))
    dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 130
    fill = f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"
    box = tag("rect", x=left + 1, y=top + 1, width=CELL[0] - 2, height=CELL[1] - 2, rx=3, fill=fill)
    text = {"x": left + CELL[0] / 2, "y": top + CELL[1] / 2 + 4, "text_anchor": "middle"}
    return tag("g", box, tag("text", number(value), fill="#ffffff" if dark else "#000000", **text))


def number(value: float) -> str:
    """Return a value in the few characters that a cell has room for.

    >>> [number(value) for value in (0.98765, 12.345, 123456.0, 1e-7)]
    ['0.988', '12.3', '1.2e+05', '1e-07']
    """
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e4):
        return f"{value:.2g}"
    return f"{value:.3f}" if size < 10 else f"{value:.4g}" if size >= 1000 else f"{value:.3g}"


def colour_of(share: float) -> tuple[int, int, int]:
    """Return a colour of cividis, which grows lighter evenly and which any eyes can read.

    Nuñez, Anderton and Renslow, PLoS ONE 13 (2018).

    >>> colour_of(0.0), colour_of(1.0)
    ((0, 34, 78), (254, 232, 56))
    """
    at = min(max(share, 0.0), 1.0) * (len(CIVIDIS) - 1)
    low = min(int(at), len(CIVIDIS) - 2)
    red, green, blue = (round(a + (b - a) * (at - low)) for a, b in zip(CIVIDIS[low], CIVIDIS[low + 1], strict=True))
    return red, green, blue


def _marks(heat: Heat) -> list[Html]:
    text = {"fill": "currentColor", "fill_opacity": 0.8}
    bottom = TOP + CELL[1] * len(heat.y.values)
    across = [
        tag("text", name, x=LEFT + (at + 0.5) * CELL[0], y=bottom + 15, text_anchor="middle", **text)
        for at, name in enumerate(_short(heat.x.texts, 9))
    ]
    up = [
        tag("text", name, x=LEFT - 6, y=_at(heat, (0, at))[1] + CELL[1] / 2 + 4, text_anchor="end", **text)
        for at, name in enumerate(_short(heat.y.texts, 12))
    ]
    right = LEFT + CELL[0] * len(heat.x.values)
    return [
        *across,
        *up,
        tag("text", heat.x.short, x=right, y=bottom + 33, text_anchor="end", font_weight=600, **text),
        tag("text", f"↑ {heat.y.short}", x=2, y=bottom + 33, font_weight=600, **text),
    ]


def _short(texts: Sequence[str], most: int) -> list[str]:
    return [text if len(text) <= most else f"{text[: most - 1]}…" for text in texts]
