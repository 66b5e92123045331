"""`shoal ls`: the runs in a folder, filtered and sorted by flags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from shoal.cli import conditions, output
from shoal.errors import InputError, unknown
from shoal.pages.blocks import Grid
from shoal.pages.experiments_table import experiments, experiments_grid
from shoal.pages.runs_table import runs_grid, usual_metrics
from shoal.store import STATUSES, Summary, summaries, sweeps
from shoal.store.catalog import UNREADABLE, as_result, of_sweep


@dataclass(frozen=True)
class Choice:
    """Which runs, in which order, with which metrics."""

    statuses: Sequence[str] = ()
    name: str | None = None
    where: Sequence[str] = ()
    sort: str = "-started"
    reverse: bool = False
    limit: int | None = None
    metrics: Sequence[str] = ()
    tags: Sequence[str] = ()


def run(choice: Choice, *, runs: Path, json: bool, sweep: str | None = None, group: bool = False) -> int:
    """Print the runs, those of one sweep or all, as runs or as experiments; return the exit code."""
    every = _of_sweep(runs, sweep, say=not json) if sweep else summaries(runs)
    chosen = filtered(every, choice)
    shown = _experiments(chosen, choice) if group else _runs(chosen, choice)
    if json:
        output.results(shown.results)
    elif chosen:
        conditions.check(choice.metrics, every, "--metrics")
        now = datetime.now().astimezone() if output.on_terminal() else None
        output.page([shown.grid(now)])
    elif every:
        which = f"None of the {len(every):,} runs" if len(every) > 1 else "The only run"
        output.note(f"{which} in {str(runs)!r} is {'not ' * (len(every) == 1)}like that.")
    elif sweep is None:
        output.note(f"There are no runs in {str(runs)!r} yet: 'shoal train' makes one.")
    return 0


@dataclass(frozen=True)
class _Shown:
    """What is printed, either way; neither is made before it is asked for."""

    results: Iterable[Mapping[str, Any]]
    grid: Callable[[datetime | None], Grid]


def _runs(chosen: Sequence[Summary], choice: Choice) -> _Shown:
    rows = _sorted(chosen, choice)
    return _Shown(map(as_result, rows), lambda now: runs_grid(rows, choice.metrics or usual_metrics(rows), now=now))


def _experiments(chosen: Sequence[Summary], choice: Choice) -> _Shown:
    found = {id(one.overall): one for one in experiments(chosen)}
    overall = _sorted([one.overall for one in found.values()], choice)
    rows, metrics = [found[id(one)] for one in overall], choice.metrics or usual_metrics(overall)
    return _Shown((row.result() for row in rows), lambda now: experiments_grid(rows, metrics, now=now))


def _of_sweep(runs: Path, name: str, *, say: bool) -> list[Summary]:
    """The runs of a sweep that have a folder; how many have none is said."""
    sweep = sweeps.read(runs, name)
    found = of_sweep(summaries(runs), sweep)
    lacking = len(sweep.points) - len(found)
    if say and lacking > 0:
        output.note(f"{lacking:,} of the {len(sweep.points):,} runs of {name} have not begun.")
    return found


def select(runs: Sequence[Summary], choice: Choice) -> list[Summary]:
    """Return the runs that a choice leaves, in its order; raises InputError for a choice that cannot be meant."""
    return _sorted(filtered(runs, choice), choice)


def filtered(runs: Sequence[Summary], choice: Choice) -> list[Summary]:
    """Return the runs that a choice leaves, in any order and however many."""
    for status in choice.statuses:
        if status not in (*STATUSES, UNREADABLE):
            raise InputError(unknown("status", status, (*STATUSES, UNREADABLE)))
    where = [conditions.parse(text) for text in choice.where]
    conditions.check([condition.key for condition in where], runs, "--where")
    conditions.check([choice.sort.removeprefix("-")], runs, "--sort")
    conditions.check_tags(choice.tags, runs)
    return [summary for summary in runs if _matches(summary, choice) and all(one.holds(summary) for one in where)]


def _sorted(runs: Sequence[Summary], choice: Choice) -> list[Summary]:
    falling = choice.sort.startswith("-") != choice.reverse
    return conditions.ordered(runs, choice.sort.removeprefix("-"), falling=falling)[: choice.limit]


def _matches(summary: Summary, choice: Choice) -> bool:
    named = choice.name is None or fnmatchcase(summary.name, choice.name)
    tagged = all(tag in summary.tags for tag in choice.tags)
    return named and tagged and (not choice.statuses or summary.status in choice.statuses)
