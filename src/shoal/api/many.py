"""Many runs as one sequence, and as a table: one row a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from shoal.api.frames import dataframe
from shoal.api.run import Run
from shoal.errors import InputError, ShoalError, nearest
from shoal.pages.notebook import runs_html
from shoal.pages.splits import split_of
from shoal.recipe import flat
from shoal.store.catalog import UNREADABLE, summary_of

FACTS = ("run", "name", "signature", "seed", "status", "steps", "folder")


class Runs(Sequence[Run]):
    """Runs in an order; a slice and `where` give such a sequence again. Their folders are read when they are asked for.

    >>> Runs([])
    Runs of 0
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = tuple(runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        return Runs(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __eq__(self, other: object) -> bool:
        return self._runs == other._runs if isinstance(other, Runs) else NotImplemented

    def __repr__(self) -> str:
        return "\n".join([f"Runs of {len(self)}", *(f"  {run.label}" for run in self._runs)])

    def _repr_html_(self) -> str:
        return runs_html([summary for run in self._runs if (summary := summary_of(run.location)) is not None])

    def where(self, conditions: Mapping[str, Any] | None = None, /, **more: Any) -> Runs:
        """Return the runs whose values are these: `where(status="finished")`, `where({"optimizer.lr": 0.1})`.

        Keys are columns of `frame`. Raises InputError for one that no run has, with the nearest.
        """
        wanted, rows = {**(conditions or {}), **more}, self.rows()
        known = {key for row in rows for key in row}
        for key in wanted:
            if rows and key not in known:
                close = nearest(key, known)
                hint = f"did you mean {close!r}? " if close else ""
                raise InputError(f"where {key!r}: no run has it: {hint}There are: {', '.join(sorted(known))}.")
        met = (all(key in row and row[key] == value for key, value in wanted.items()) for row in rows)
        return Runs(run for run, holds in zip(self._runs, met, strict=True) if holds)

    def rows(self) -> list[dict[str, Any]]:
        """Return one mapping a run: run, name, signature, seed, status, steps, folder; recipe keys; metrics."""
        return [_row(run) for run in self._runs]

    def frame(self, *, varying: bool = False) -> Any:
        """Return `rows` as a pandas DataFrame; with `varying`, without the recipe keys that are the same in all runs.

        Raises InputError where pandas is not installed.
        """
        rows = self.rows()
        names = _columns(rows)
        if varying:
            same = {name for name in names if len({repr(row.get(name)) for row in rows}) < 2}
            names = [name for name in names if name in FACTS or _is_metric(name) or name not in same]
        return dataframe(rows, columns=names)


def _row(run: Run) -> dict[str, Any]:
    try:
        result, recipe = run.result, flat.read(run.location.recipe)
        facts = {**result, "name": run.record.get("name", recipe.get("name"))}
    except ShoalError:  # one damaged folder does not hide the others; opening the run says what is wrong
        return {**dict.fromkeys(FACTS), "run": run.label, "status": UNREADABLE, "folder": str(run.folder)}
    keys = {key: value for key, value in recipe.items() if key not in FACTS}
    return {**{fact: facts[fact] for fact in FACTS}, **keys, **result["metrics"]}


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Facts, recipe keys, metrics, each in the order in which they first come."""
    names = dict.fromkeys([*FACTS, *(name for row in rows for name in row)])
    return sorted(names, key=_is_metric)


def _is_metric(name: str) -> bool:
    return split_of(name) != ""
