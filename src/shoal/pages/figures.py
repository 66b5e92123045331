"""The figures of a page as files for a paper or a talk: PNG at 150 dots an inch, and SVG. Drawn by matplotlib.

matplotlib is imported when figures are asked for, never before. Colours are those of Okabe and Ito, which any eyes
tell apart, and each line has a style of its own. Labels are text: nothing is read as mathematics.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from shoal.errors import StoreError
from shoal.files import write_atomic
from shoal.pages import formats, ticks
from shoal.pages.confusion import Matrix, short
from shoal.pages.sample_files import Classified, Regressed, Samples, read_samples
from shoal.pages.series import Point, Quantity, hypers, quantities, rate
from shoal.pages.splits import in_legend, is_averaged
from shoal.store import RunFolder, read_journal

DPI = 150
INCHES = (6.0, 3.8)
STYLES = {
    "train": ("#0072b2", "-"),
    "valid": ("#d55e00", "--"),
    "valid_average": ("#cc79a7", "-."),
    "test": ("#009e73", ":"),
    "test_average": ("#009e73", (0, (1, 3))),
}
OTHER = ("#0072b2", "-")
MOST_NUMBERS = 25
"""Classes up to which the cells of a confusion matrix are numbered."""
SETTINGS = {
    "text.parse_math": False,
    "svg.hashsalt": "shoal",
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def draw(folder: RunFolder, into: Path) -> list[Path]:
    """Write each figure of a run as PNG and SVG into a folder; return the files. May raise OSError."""
    return save_all(_figures(folder), into)


def save_all(figures: Iterable[tuple[str, Any]], into: Path) -> list[Path]:
    """Write figures, each with its name, as PNG and SVG into a folder; return the files. May raise OSError.

    They are made as they are asked for, under our settings.
    """
    matplotlib: Any = import_module("matplotlib")  # half a second: only where figures are asked for
    into.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with matplotlib.rc_context(SETTINGS):
        taken: dict[str, int] = {}
        for name, figure in figures:
            safe = _safe(name)
            taken[safe] = taken.get(safe, 0) + 1
            number = f"_{taken[safe]}" if taken[safe] > 1 else ""
            for ending in ("png", "svg"):
                path = into / f"{safe}{number}.{ending}"
                _save(figure, path)
                written.append(path)
    return written


def _save(figure: Any, path: Path) -> None:
    made = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is drawn as a box
        figure.savefig(
            made, format=path.suffix[1:], dpi=DPI, metadata={"Date": None} if path.suffix == ".svg" else None
        )
    write_atomic(path, made.getvalue())


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._")[:80] or "figure"


def _figures(folder: RunFolder) -> Iterator[tuple[str, Any]]:
    history, timing = read_journal(folder.history)[0], read_journal(folder.timing)[0]
    for quantity in [*quantities(history), *hypers(history), rate(timing)]:
        if quantity is not None:
            yield quantity.name, _curves(quantity)
    try:
        samples = read_samples(folder)
    except StoreError:
        return  # the page says why
    if samples is not None:
        yield from _of_samples(samples)


def _of_samples(samples: Samples) -> Iterator[tuple[str, Any]]:
    shown = samples.shown
    if isinstance(shown, Classified) and shown.confusion is not None:
        yield "confusion", _confusion(shown.confusion, [short(label) for label in shown.labels], samples.split)
    if isinstance(shown, Regressed):
        for at, pairs in enumerate(shown.pairs):
            named = f"predictions_{at + 1}" if len(shown.pairs) > 1 else "predictions"
            yield named, _scatter(pairs, samples.split)


def new(inches: tuple[float, float]) -> tuple[Any, Any]:
    """Return a figure and its axes."""
    module: Any = import_module("matplotlib.figure")  # no pyplot: no window, nothing global
    figure = module.Figure(figsize=inches, layout="constrained")
    return figure, figure.add_subplot()


def _curves(quantity: Quantity) -> Any:
    figure, axes = new(INCHES)
    for series in quantity.series:
        colour, style = STYLES.get(series.name, OTHER)
        x, y = [step for step, _ in series.points], [value for _, value in series.points]
        hollow = {"marker": "D", "fillstyle": "none", "markersize": 11}  # so that one within it is seen
        alone = hollow if is_averaged(series.name) else {"marker": "D"}
        mark = alone if len(series.points) == 1 else {}
        label = formats.clean(in_legend(series.name))
        axes.plot(x, y, color=colour, linestyle=style, linewidth=1.8, label=label, **mark)
    if quantity.spans_decades:
        axes.set_yscale("log")
    plain_marks(axes)
    axes.set_xlabel("step")
    axes.set_ylabel(formats.clean(quantity.name) + (f" ({quantity.unit})" if quantity.unit else ""))
    if len(quantity.series) > 1:
        axes.legend(frameon=False)
    return figure


def plain_marks(axes: Any, *, steps: bool = True) -> None:
    """Have numbers at the marks as on the page, for matplotlib writes those of a logarithmic axis as mathematics."""
    tickers: Any = import_module("matplotlib.ticker")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(tickers.FuncFormatter(_mark))
        axis.set_minor_formatter(tickers.NullFormatter())
    if steps:
        axes.xaxis.set_major_locator(tickers.MaxNLocator(nbins=7, integer=True))


def _mark(value: float, place: int | None) -> str:
    del place
    return ticks.label(value)


def _confusion(matrix: Matrix, labels: Sequence[str], split: str) -> Any:
    side = min(14.0, max(4.0, 1.6 + 0.36 * len(matrix)))
    figure, axes = new((side, side))
    shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
    shown = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, shrink=0.75, label="share of the row")
    turn = max(map(len, labels)) > 2
    axes.set_xticks(range(len(labels)), labels, rotation=90 if turn else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("prediction")
    axes.set_ylabel(f"target ({formats.clean(split)})")
    axes.grid(visible=False)
    if len(matrix) <= MOST_NUMBERS:
        for row, counts in enumerate(matrix):
            for column, count in enumerate(counts):
                if count:
                    dark = "black" if shares[row][column] > 0.55 else "white"
                    axes.text(column, row, str(count), ha="center", va="center", color=dark, fontsize=8)
    return figure


def _scatter(pairs: Sequence[Point], split: str) -> Any:
    figure, axes = new((4.6, 4.6))
    known = [pair for pair in pairs if all(map(math.isfinite, pair))]
    both = [value for pair in known for value in pair] or [0.0, 1.0]
    axes.plot([min(both), max(both)], [min(both), max(both)], color="#777777", linestyle="--", linewidth=1)
    axes.scatter([x for x, _ in known], [y for _, y in known], s=12, color="#0072b2", alpha=0.6, edgecolors="none")
    axes.set_xlabel(f"target ({formats.clean(split)})")
    axes.set_ylabel("prediction")
    return figure
