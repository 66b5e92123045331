"""What a notebook shows: a run, a list of runs, a training as it goes. Markup without scripts or style sheets.

A notebook that is not trusted strips both, so colours stand beside what they colour, and everything is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import StoreError
from shoal.pages import formats
from shoal.pages.blocks import Grid, text_of
from shoal.pages.chart import drawing, in_words, legend
from shoal.pages.lenient import inner, real
from shoal.pages.markup import Content, Html, tag
from shoal.pages.metrics_grid import metrics_grid
from shoal.pages.runs_table import runs_grid, usual_metrics
from shoal.pages.series import Quantity, quantities
from shoal.pages.statuses import status
from shoal.store import RunFolder, Summary, latest, read_journal, record

MOST_CURVES = 2
MOST_RUNS = 100
LEFT, RIGHT = "text-align:left;padding:2px 12px 2px 0", "text-align:right;padding:2px 12px 2px 0"
ROOM = "flex:1 1 280px;max-width:440px;min-width:0"


def run_html(folder: RunFolder) -> str:
    """Return a run: its status, metrics and curves; of one whose record cannot be read, what is wrong."""
    try:
        known = record.read(folder)
        word = record.status(folder, known)
    except StoreError as error:
        return tag("div", tag("b", folder.label), tag("p", error))
    history, _ = read_journal(folder.history)
    metrics = inner(known, "metrics") or {key: item for key, item in latest(folder.history).items() if "." in key}
    table = grid_html(metrics_grid(metrics)) if metrics else tag("p", "no metrics yet")
    curves = [_curve(quantity) for quantity in quantities(history)[:MOST_CURVES]]
    body = tag(
        "div", tag("div", table), curves, style="display:flex;flex-wrap:wrap;gap:8px 24px;align-items:flex-start"
    )
    return tag("div", tag("div", tag("b", folder.label), " ", _state(known, word)), body)


def _state(known: Mapping[str, Any], word: str) -> Html:
    total = f" of {formats.number(known['total_steps'])}" if known.get("total_steps") is not None else ""
    steps = f", {formats.number(known['steps'])}{total} steps" if known.get("steps") is not None else ""
    seconds = real(known.get("seconds"))
    time = f" in {formats.duration(seconds)}" if seconds is not None else ""
    reason = f": {formats.clean(known.get('reason') or '')}" if word in ("failed", "stopped", "killed") else ""
    return tag("span", f"{status(word).text}{steps}{time}{reason}")


def _curve(quantity: Quantity) -> Html:
    title = tag("div", tag("b", quantity.name), " ", legend(quantity.series))
    return tag("div", title, drawing(quantity), tag("small", in_words(quantity)), style=ROOM)


def runs_html(runs: Sequence[Summary], metrics: Sequence[str] | None = None) -> str:
    """Return a list of runs as a table, with a column for each metric (those that say most where none are named)."""
    if not runs:
        return tag("p", "no runs")
    shown = runs[:MOST_RUNS]
    more = f"{len(runs) - len(shown):,} runs more" if len(runs) > len(shown) else None
    table = grid_html(runs_grid(shown, usual_metrics(runs) if metrics is None else metrics))
    return tag("div", table, tag("p", more) if more else None)


def grid_html(grid: Grid) -> Html:
    """Return a grid as a table."""
    sides = [RIGHT if column.right else LEFT for column in grid.columns]
    head = [tag("th", column.title, style=side) for column, side in zip(grid.columns, sides, strict=True)]
    rows = [
        tag("tr", [tag("td", text_of(cell), style=side) for cell, side in zip(row, sides, strict=True)])
        for row in grid.rows
    ]
    return tag("table", tag("thead", tag("tr", head)), tag("tbody", rows))


def progress_html(*, step: int, total: int, words: str, row: Mapping[str, str] | None = None) -> str:
    """Return how far a training is: a bar, a sentence, the metrics of the last evaluation."""
    bar = tag("progress", value=step, max=max(total, 1), style="width:240px;vertical-align:middle")
    said: list[Content] = [bar, f" step {formats.count(step)} of {formats.count(total)}{words}"]
    cells = [tag("td", name, " ", tag("b", item), style=LEFT) for name, item in (row or {}).items()]
    return tag("div", tag("div", said), tag("table", tag("tr", cells)) if cells else None)
