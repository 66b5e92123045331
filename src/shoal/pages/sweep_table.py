"""The table of a sweep: one row a run, or one an experiment with mean and deviation over its seeds; best first.

Made from what is known at the moment, so that it serves a sweep that is being trained, one that was, and one of which
nothing is there yet. A thousand runs stay readable: only as many rows are shown as there is room for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from shoal.analysis import mean_of
from shoal.errors import nearest
from shoal.pages import formats
from shoal.pages.blocks import Block, Cell, Column, Grid, Lines
from shoal.pages.main_metrics import main_metrics, ranking_metric
from shoal.pages.series import lower_is_better
from shoal.pages.splits import AVERAGED
from shoal.pages.statuses import SYMBOLS, status

ORDER = ("running", "finished", "stopped", "killed", "failed", "unreadable", "queued")
"""Rows that have no value to sort by come in this order."""
MOST_UNKNOWN = 4
"""Metrics that are shown where none of their names is known."""
FACTS = {"step", "epoch", "rate", "left", "seed"}
"""What rows can be sorted by beside metrics."""


@dataclass(frozen=True)
class Row:
    """One run of a sweep, as far as it is known."""

    name: str
    """What it has beside the base: `lr=0.1 width=64`."""
    signature: str
    seed: int
    status: str = "queued"
    step: int = 0
    total: int | None = None
    epoch: float | None = None
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    rate: float | None = None
    """Steps a second."""
    reason: str | None = None

    @property
    def left(self) -> float | None:
        """Seconds until it ends, at its rate."""
        if self.rate and self.total is not None and self.status == "running":
            return max(0, self.total - self.step) / self.rate
        return None


@dataclass(frozen=True)
class Look:
    """How the table is wanted."""

    sort: str | None = None
    """A metric or a column; `-KEY` is from high to low; None is best first."""
    metrics: Sequence[str] = ()
    by_run: bool = False
    """One row a run, although there are several seeds."""
    rows: int | None = None
    """Rows that there is room for."""


def main_metric(rows: Sequence[Row]) -> str | None:
    """Return the metric that says which run is best."""
    return ranking_metric(name for row in rows for name in row.metrics)


def sweep_table(rows: Sequence[Row], look: Look = Look()) -> list[Block]:
    """Return the table, and a line of totals."""
    seeds = len({row.seed for row in rows}) > 1
    metrics = list(look.metrics) or _usual(rows)
    each, best = look.by_run or not seeds, main_metric(rows)
    groups = _sorted([[row] for row in rows] if each else _experiments(rows), look.sort, best)
    shown = groups if look.rows is None else groups[: max(1, look.rows)]
    grid = _grid(shown, metrics, best=best if best in metrics else (metrics or [None])[0], each=each, seeds=seeds)
    more = [f"and {len(groups) - len(shown):,} more"] if len(shown) < len(groups) else []
    return [grid, Lines([*more, totals(rows)])]


def unknown_key(rows: Sequence[Row], look: Look) -> str | None:
    """Return what is to be said of a key that no run has, None where all are known or nothing is measured yet."""
    known = {name for row in rows for name in row.metrics}
    for option, key in [("--sort", (look.sort or "").removeprefix("-")), *(("--metrics", key) for key in look.metrics)]:
        if key and known and key not in known | FACTS:
            close = nearest(key, known | FACTS)
            hint = f"did you mean {close}? " if close else ""
            return f"{option} {key!r}: no run has it; {hint}There are: {', '.join(sorted(known | FACTS))}."
    return None


def totals(rows: Sequence[Row]) -> str:
    """Return how many runs there are of each status, in one line."""
    counts = {word: sum(row.status == word for row in rows) for word in ORDER}
    said = [f"{SYMBOLS[word][0]} {count:,} {word}" for word, count in counts.items() if count]
    return f"{len(rows):,} run{'s' * (len(rows) != 1)}: {', '.join(said)}" if rows else "no runs"


def _usual(rows: Sequence[Row]) -> list[str]:
    """Of train, valid and test the metric that says most, and valid's loss; averaged weights beside the others."""
    names = {name for row in rows for name in row.metrics}
    chosen: list[str] = []
    for split in ("train", "valid", "test"):
        main = main_metrics(name for name in names if name.startswith(f"{split}."))[: 2 if split == "valid" else 1]
        averaged = [name.replace(".", f"{AVERAGED}.", 1) for name in main]
        chosen += [name for pair in zip(main, averaged, strict=True) for name in pair if name in names]
    return chosen or sorted(names)[:MOST_UNKNOWN]


def _experiments(rows: Sequence[Row]) -> list[list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.signature, []).append(row)
    return list(found.values())


def _sorted(groups: list[list[Row]], key: str | None, best: str | None) -> list[list[Row]]:
    name = key.removeprefix("-") if key else best
    falling = key.startswith("-") if key else best is not None and not lower_is_better(best)
    having = [group for group in groups if name and _value(group, name) is not None]
    lacking = [group for group in groups if not name or _value(group, name) is None]
    having.sort(key=lambda group: _value(group, str(name)) or 0, reverse=falling)
    return having + sorted(lacking, key=lambda group: ORDER.index(_status(group)))


def _value(group: Sequence[Row], name: str) -> float | None:
    values = [getattr(row, name) if name in FACTS else row.metrics.get(name) for row in group]
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None


def _grid(
    groups: Sequence[Sequence[Row]], metrics: Sequence[str], *, best: str | None, each: bool, seeds: bool
) -> Grid:
    columns = [Column("status"), Column("name")]
    columns += [Column("seed" if each else "n", right=True)] if seeds else []
    columns += [_column(name, spare=name != best) for name in metrics]
    columns += [Column("epoch", right=True, spare=True, whole=True), Column("left", right=True, spare=True, whole=True)]
    columns += [Column("steps/s", right=True, spare=True, whole=True), Column("signature", spare=True, whole=True)]
    columns += [Column("reason", spare=True)]
    rows = [_cells(group, metrics, best=best, each=each, seeds=seeds) for group in groups]
    empty = {at for at in range(2, len(columns)) if not any(_text(row[at]) for row in rows)}
    return Grid(
        [column for at, column in enumerate(columns) if at not in empty],
        [[cell for at, cell in enumerate(row) if at not in empty] for row in rows],
    )


def _column(name: str, *, spare: bool) -> Column:
    return Column(formats.clean(name), right=True, spare=spare, whole=spare)


def _cells(
    group: Sequence[Row], metrics: Sequence[str], *, best: str | None, each: bool, seeds: bool
) -> list[str | Cell]:
    first = group[0]
    reason = next((row.reason for row in group if row.reason and row.status != "finished"), "")
    epochs = [row.epoch for row in group if row.epoch is not None]
    left = [row.left for row in group if row.left is not None]
    rates = [row.rate for row in group if row.rate is not None]
    number = sum(best in row.metrics for row in group)
    return [
        _statuses(group),
        formats.clean(first.name) or "(base)",
        *([str(first.seed if each else number or "")] if seeds else []),
        *(_measured(group, name, number=1 if each else number) for name in metrics),
        f"{min(epochs):.4g}" if epochs else "",
        formats.duration(max(left)) if left else "",
        f"{sum(rates):,.0f}" if rates else "",
        formats.clean(first.signature[:8]),
        formats.clean((reason or "").strip().split("\n")[0]),
    ]


def _measured(group: Sequence[Row], name: str, *, number: int) -> str:
    """A value, or mean ± deviation over seeds; with (n) where that is another than the row's."""
    values = [row.metrics[name] for row in group if name in row.metrics]
    if not values:
        return ""
    found = mean_of(values)
    count = f" ({len(values)})" if len(values) != number else ""
    if found is None or found.deviation is None or found.n != len(values):
        return f"{formats.number(fmean(values))}{count}"
    return f"{formats.number(found.mean)} ± {found.deviation:.2g}{count}"


def _statuses(group: Sequence[Row]) -> Cell:
    word = _status(group)
    shown = status(word)
    done = sum(row.status == "finished" for row in group)
    return shown if len(group) == 1 else Cell(f"{shown.text.partition(' ')[0]} {done}/{len(group)}", shown.style)


def _status(group: Sequence[Row]) -> str:
    """The status of an experiment: what needs to be looked at first, else what is still to come."""
    words = {row.status for row in group}
    order = ("running", "failed", "unreadable", "killed", "stopped", "queued", "finished")
    return next((word for word in order if word in words), "queued")


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell
