"""The list of runs that `shoal ls` prints: one run a row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shoal.pages import formats
from shoal.pages.blocks import Cell, Column, Grid
from shoal.pages.splits import AVERAGED, is_averaged
from shoal.pages.statuses import status
from shoal.store import Summary

SPLITS = ("test", "valid")


def runs_grid(runs: Sequence[Summary], metrics: Sequence[str], *, now: datetime | None = None) -> Grid:
    """Return the runs as rows in the order given, with a column for each metric; in a pipe there is no header.

    With `now`, times are how long ago; without, they are date and time.
    """
    columns = [Column("status"), Column("run"), Column("steps", right=True)]
    columns += [Column(formats.clean(m), right=True, named=True, spare=is_averaged(m)) for m in metrics]
    columns.append(Column("started"))
    rows = [_row(run, metrics, now) for run in runs]
    for title, texts in (("tags", [_tags(run) for run in runs]), ("reason", [_reason(run) for run in runs])):
        if any(texts):
            columns.append(Column(title, spare=True))
            rows = [[*row, text] for row, text in zip(rows, texts, strict=True)]
    return Grid(columns, rows, header=False)


def usual_metrics(runs: Sequence[Summary]) -> list[str]:
    """Return the metrics to show where none are asked for: of test and of valid the one that says most.

    Where runs have averaged weights, theirs stands beside the first of them that was measured.

    >>> usual_metrics([])
    []
    """
    names = {name for run in runs for name in run.metrics}
    chosen = (sorted((name for name in names if name.startswith(f"{split}.")), key=_rank) for split in SPLITS)
    usual = [ranked[0] for ranked in chosen if ranked]
    averaged = [name.replace(".", f"{AVERAGED}.", 1) for name in usual]
    known = next((place for place, name in enumerate(averaged) if name in names), None)
    return usual if known is None else [*usual[: known + 1], averaged[known], *usual[known + 1 :]]


def _rank(name: str) -> tuple[bool, bool, str]:
    return "accuracy" not in name, "loss" in name, name


def _row(run: Summary, metrics: Sequence[str], now: datetime | None) -> list[str | Cell]:
    return [
        status(run.status),
        formats.clean(run.label),
        _steps(run),
        *(formats.number(run.metrics.get(metric)) for metric in metrics),
        formats.ago(run.started, now) if now else formats.when(run.started),
    ]


def _tags(run: Summary) -> str:
    return formats.clean(",".join(run.tags))


def _reason(run: Summary) -> str:
    return "" if run.status == "finished" else formats.clean((run.reason or "").strip().split("\n")[0])


def _steps(run: Summary) -> str:
    if run.total_steps is None or run.steps == run.total_steps:
        return formats.count(run.steps)
    return f"{formats.count(run.steps)}/{formats.count(run.total_steps)}"
