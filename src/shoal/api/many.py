"""Many runs as one sequence, and as a table: one row a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from shoal.api.frames import dataframe
from shoal.api.run import Run
from shoal.errors import InputError, nearest
from shoal.pages.history_file import columns
from shoal.pages.notebook import runs_html
from shoal.pages.run_rows import history_rows, names_of, row_of
from shoal.recipe import flat
from shoal.store.catalog import summary_of


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
        return [row_of(run.location, flat.read) for run in self._runs]

    def frame(self, *, varying: bool = False) -> Any:
        """Return `rows` as a pandas DataFrame; with `varying`, without the recipe keys that are the same in all runs.

        Raises InputError where pandas is not installed.
        """
        rows = self.rows()
        return dataframe(rows, columns=names_of(rows, varying=varying))

    def histories(self) -> Any:
        """Return all histories as one pandas DataFrame: run, seed, step, epoch, and the metrics recorded there.

        Raises InputError where pandas is not installed.
        """
        return dataframe(columns(list(history_rows(run.location for run in self._runs))))
