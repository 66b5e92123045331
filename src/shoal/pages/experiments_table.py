"""The list of experiments that `shoal ls --group` prints: one row for all seeds of a recipe, with what they come to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shoal.analysis import Mean, mean_of
from shoal.pages import formats
from shoal.pages.blocks import Cell, Column, Grid
from shoal.pages.lenient import real
from shoal.pages.splits import is_averaged
from shoal.pages.statuses import status
from shoal.store import Summary
from shoal.store.layout import SIGNATURE


def shown(found: Mean) -> str:
    """Return a mean as a table has it.

    >>> shown(Mean(0.98333, 3, 0.00213)), shown(Mean(0.98333, 1))
    ('0.9833 ± 0.0021 (3)', '0.9833 (1)')
    """
    deviation = "" if found.deviation is None else f" ± {formats.number(found.deviation)}"
    return f"{formats.number(found.mean)}{deviation} ({found.n})"


@dataclass(frozen=True)
class Experiment:
    """All seeds of one recipe; `overall` stands for them where rows are sorted, with means as its metrics."""

    label: str
    runs: tuple[Summary, ...]
    metrics: Mapping[str, Mean]
    overall: Summary

    @property
    def counts(self) -> dict[str, int]:
        """How many runs have each status, those that have most first."""
        return dict(Counter(run.status for run in self.runs).most_common())

    def result(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        spreads = {name: {"mean": s.mean, "deviation": s.deviation, "n": s.n} for name, s in self.metrics.items()}
        return {
            "experiment": self.label,
            "name": self.overall.name,
            "signature": self.overall.signature,
            "seeds": sorted(run.seed for run in self.runs),
            "statuses": self.counts,
            "metrics": spreads,
        }


def experiments(runs: Sequence[Summary]) -> list[Experiment]:
    """Return the experiments that runs belong to, in the order of their first runs.

    Metrics are those of finished runs; a run belongs to the experiment of its signature, whatever its folder is called.
    """
    whole = {_above(run): run.signature for run in runs if SIGNATURE.fullmatch(run.signature)}
    groups: dict[str, list[Summary]] = {}
    for run in runs:
        groups.setdefault(whole.get(_above(run), _above(run)), []).append(run)
    return [_experiment(group) for group in groups.values()]


def experiments_grid(found: Sequence[Experiment], metrics: Sequence[str], *, now: datetime | None = None) -> Grid:
    """Return the experiments as rows in the order given, with a column for each metric: mean ± deviation (n)."""
    columns = [Column("status"), Column("experiment"), Column("steps", right=True)]
    columns += [Column(formats.clean(m), right=True, named=True, spare=is_averaged(m)) for m in metrics]
    return Grid([*columns, Column("started")], [_row(one, metrics, now) for one in found], header=False)


def _row(one: Experiment, metrics: Sequence[str], now: datetime | None) -> list[str | Cell]:
    started = one.overall.started
    parts = {word: status(word) for word in one.counts}
    said = ", ".join(parts[word].text.replace(" ", f" {count} ", 1) for word, count in one.counts.items())
    return [
        Cell(said, next(iter(parts.values())).style),
        formats.clean(one.label),
        formats.count(one.overall.steps),
        *(shown(one.metrics[metric]) if metric in one.metrics else formats.NOTHING for metric in metrics),
        formats.ago(started, now) if now else formats.when(started),
    ]


def _experiment(runs: Sequence[Summary]) -> Experiment:
    first = next((run for run in runs if SIGNATURE.fullmatch(run.signature)), runs[0])
    values: dict[str, list[float]] = {}
    for run in runs:
        for name in run.metrics if run.status == "finished" else ():
            if (number := real(run.metrics[name])) is not None:
                values.setdefault(name, []).append(number)
    found = {name: mean for name, several in values.items() if (mean := mean_of(several)) is not None}
    label = _above(first)
    overall = Summary(
        folder=first.folder,
        label=label,
        name=first.name,
        signature=first.signature,
        seed=first.seed,
        status=first.status,
        steps=max(run.steps for run in runs),
        metrics={name: one.mean for name, one in found.items()},
        started=max((run.started for run in runs if run.started), default=None),
        finished=max((run.finished for run in runs if run.finished), default=None),
        seconds=math.fsum(times) if (times := [run.seconds for run in runs if run.seconds is not None]) else None,
    )
    return Experiment(label, tuple(runs), found, overall)


def _above(run: Summary) -> str:
    return run.label.partition("/")[0]
