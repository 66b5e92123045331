"""Tables for other programs, as CSV or Parquet; a run's history is one, with a row a record and a column a metric.

Reads the run's folder only. In CSV, text that a spreadsheet would take for a formula is quoted with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.errors import StoreError
from shoal.pages.export_targets import written
from shoal.pages.formats import clean
from shoal.store import RunFolder, read_journal

FORMULA = ("=", "+", "-", "@", "\t")
"""What a spreadsheet takes for the start of a formula, or leaves out before one."""


def write_history(folder: RunFolder, path: Path) -> None:
    """Write the history to `path`, as its ending says.

    Raises StoreError where there is none yet, ExportError where the file cannot be written.
    """
    rows, _ = read_journal(folder.history)
    if not rows:
        raise StoreError(f"{folder.label} has no history yet: train it first.")
    write_table(columns(rows), path)


def write_table(table: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Write columns of one length to `path`, as its ending says; raises ExportError where it cannot be written."""
    with written(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(table, temporary)
        else:
            temporary.write_text(as_csv(table), encoding="utf-8", newline="")


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns, in the order in which their names first come; None where a row has no value.

    >>> columns([{"step": 1}, {"step": 2, "lr": 0.1}])
    {'step': [1, 2], 'lr': [None, 0.1]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def as_csv(table: Mapping[str, Sequence[Any]]) -> str:
    """Return columns as CSV text; numbers so that they are read back to the same bits, nothing where there is none.

    >>> print(as_csv({"step": [1], "=cmd": [-0.5], "note": ["@SUM(A1)"]}), end="")
    step,'=cmd,note
    1,-0.5,'@SUM(A1)
    """
    with io.StringIO(newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_cell(name) for name in table])
        writer.writerows([[_cell(value) for value in row] for row in zip(*table.values(), strict=True)])
        return file.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return repr(value)
    text = _text(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _text(value: object) -> str:
    """Text as any program can read it: a bare carriage return would end a row."""
    return clean(value, keep="\n\t")


def _write_parquet(table: Mapping[str, Sequence[Any]], path: Path) -> None:
    import pyarrow  # noqa: PLC0415 takes 0.1 s  # pyright: ignore[reportMissingTypeStubs]
    from pyarrow import parquet  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    arrow: Any = pyarrow
    parquet.write_table(arrow.table({_text(name): _array(arrow, values) for name, values in table.items()}), path)


def _array(arrow: Any, values: Sequence[Any]) -> Any:
    """Whole numbers, numbers, or yes and no; a column of anything else, or of several kinds, becomes text."""
    kinds: set[type] = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return arrow.array(values, arrow.bool_())
    if kinds <= {int, float}:
        return arrow.array(values, arrow.int64() if kinds == {int} else arrow.float64())
    return arrow.array([None if value is None else _text(value) for value in values], arrow.string())
