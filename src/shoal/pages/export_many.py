"""Many runs as tables for other programs: one row a run, one row a line of their histories, and HiPlot's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shoal.errors import StoreError
from shoal.pages.export_targets import check_file
from shoal.pages.history_file import columns, write_table
from shoal.pages.run_rows import FACTS, SAID, ReadRecipe, Row, history_rows, is_metric, names_of, row_of, varies
from shoal.store import RunFolder

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "table": (".csv", ".parquet"),
    "histories": (".csv", ".parquet"),
    "hiplot": (".csv",),
}


@dataclass(frozen=True)
class Tables:
    """A path for each table that is wanted."""

    table: Path | None = None
    histories: Path | None = None
    hiplot: Path | None = None

    @property
    def wanted(self) -> dict[str, Path]:
        """The tables that are wanted, in the order in which they are written."""
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in paths.items() if path is not None}

    def check(self, *, force: bool) -> None:
        """Raise InputError where a path cannot be written, or would be overwritten without `force`."""
        for form, path in self.wanted.items():
            check_file(form, path, ENDINGS[form], force=force)


def write_tables(folders: Sequence[RunFolder], tables: Tables, read_recipe: ReadRecipe) -> None:
    """Write the tables of runs.

    Raises StoreError where there is no history to be written, ExportError where a file cannot be written.
    """
    if tables.histories is not None:
        lines = list(history_rows(folders))
        if not lines:
            raise StoreError(f"none of the {len(folders):,} runs has a history yet.")
        write_table(columns(lines), tables.histories)
    if tables.table is not None or tables.hiplot is not None:
        rows = [row_of(folder, read_recipe) for folder in folders]
        if tables.table is not None:
            write_table({name: [row.get(name) for row in rows] for name in names_of(rows)}, tables.table)
        if tables.hiplot is not None:
            write_table(hiplot_table(rows), tables.hiplot)


def hiplot_table(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return runs as HiPlot's loader of CSV reads them: `uid`, `from_uid`, then what varies, and metrics.

    >>> hiplot_table([{"run": "a", "seed": 0, "lr": 0.1}, {"run": "b", "seed": 0, "lr": 0.2}])
    {'uid': ['a', 'b'], 'from_uid': [None, None], 'lr': [0.1, 0.2]}
    """
    kept = [name for name in names_of(rows, varying=True) if name not in (*FACTS, *SAID) or name in ("seed", "status")]
    shown = [name for name in kept if is_metric(name) or varies(rows, name)]
    head: dict[str, list[Any]] = {"uid": [row["run"] for row in rows], "from_uid": [None] * len(rows)}
    return head | {name: [row.get(name) for row in rows] for name in shown}
