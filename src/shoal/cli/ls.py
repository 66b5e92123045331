"""`shoal ls`: the runs in a folder, filtered and sorted by flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from shoal.cli import conditions, output
from shoal.errors import InputError, unknown
from shoal.pages.runs_table import runs_grid, usual_metrics
from shoal.store import STATUSES, Summary, summaries
from shoal.store.catalog import UNREADABLE, as_result


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


def run(choice: Choice, *, runs: Path, json: bool) -> int:
    """Print the runs; return the exit code."""
    every = summaries(runs)
    chosen = select(every, choice)
    if json:
        output.results(as_result(summary) for summary in chosen)
    elif chosen:
        conditions.check(choice.metrics, every, "--metrics")
        now = datetime.now().astimezone() if output.on_terminal() else None
        output.page([runs_grid(chosen, choice.metrics or usual_metrics(chosen), now=now)])
    elif every:
        which = f"None of the {len(every):,} runs" if len(every) > 1 else "The only run"
        output.note(f"{which} in {str(runs)!r} is {'not ' * (len(every) == 1)}like that.")
    else:
        output.note(f"There are no runs in {str(runs)!r} yet: 'shoal train' makes one.")
    return 0


def select(runs: Sequence[Summary], choice: Choice) -> list[Summary]:
    """Return the runs that a choice leaves, in its order; raises InputError for a choice that cannot be meant."""
    for status in choice.statuses:
        if status not in (*STATUSES, UNREADABLE):
            raise InputError(unknown("status", status, (*STATUSES, UNREADABLE)))
    where = [conditions.parse(text) for text in choice.where]
    conditions.check([condition.key for condition in where], runs, "--where")
    key = choice.sort.removeprefix("-")
    conditions.check([key], runs, "--sort")
    chosen = [summary for summary in runs if _matches(summary, choice) and all(one.holds(summary) for one in where)]
    falling = choice.sort.startswith("-") != choice.reverse
    return conditions.ordered(chosen, key, falling=falling)[: choice.limit]


def _matches(summary: Summary, choice: Choice) -> bool:
    named = choice.name is None or fnmatchcase(summary.name, choice.name)
    return named and (not choice.statuses or summary.status in choice.statuses)
