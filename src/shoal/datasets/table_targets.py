"""The target columns of a table: which of class labels, several labels or real values they are, and as numbers.

One column of whole numbers, texts or booleans is class labels, named by its values; one of real values is numbers.
Several columns are several labels where all hold 0 and 1 (or booleans), and numbers otherwise. `target_type` decides
where that is wrong: a price in whole numbers, or classes that are stored as 1.0 and 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from shoal.datasets.cells import Array, labels_in, missing, numbers, plain, positions, word
from shoal.errors import DataError, nearest

MOST_CLASSES = 1_000
"""A target with more values than these is not taken for classes unless that is said."""


def names_of(target: str | Sequence[str] | None, table: Any, where: str) -> list[str]:
    """Return the names of the target columns; raises DataError where there are none of that name."""
    columns = cast("list[str]", table.column_names)
    listed = f"There are: {', '.join(columns)}."
    names = [target] if isinstance(target, str) else list(target or ())
    if not names:
        raise DataError(
            f"dataset.target is not set: expected the column that is to be predicted, or several. {listed} "
            "Say which: dataset.target=COLUMN."
        )
    for name in names:
        if name not in columns:
            close = nearest(name, columns)
            hint = f"did you mean {close!r}? " if close else ""
            raise DataError(f"dataset.target = {name!r}: {where} has no such column: {hint}{listed}")
    if len(set(names)) < len(names):
        raise DataError(f"dataset.target = {', '.join(names)}: a column is named twice. Name it once.")
    return names


def describe_targets(table: Any, names: Sequence[str], target_type: str) -> dict[str, Any]:
    """Return what the targets of train are: plain data for `encode_targets`; raises DataError that names a column."""
    kinds = {name: word(plain(table.column(name)).type) for name in names}
    for name, found in kinds.items():
        _check_whole(name, table.column(name))
        _check_kind(name, found, table.column(name), only_numbers=target_type == "number" or len(names) > 1)
    columns = [{"name": name, "type": found} for name, found in kinds.items()]
    kind = _kind(table, names, kinds, target_type)
    labels = None
    if kind == "class":
        labels = _classes(names[0], table.column(names[0]), sure=target_type == "class" or kinds[names[0]] == "boolean")
    elif all(len(table.column(name).unique()) == 1 for name in names):
        _refuse_constant(names[0], str(table.column(names[0])[0].as_py()))
    return {"kind": kind, "columns": columns, "labels": labels if kind == "class" else None}


def encode_targets(encoding: Mapping[str, Any], table: Any, where: str) -> Array:
    """Return the targets of rows: labels int64 [N], several labels int64 [N, K], or numbers float64 [N] or [N, K]."""
    targets = encoding["targets"]
    names = [str(column["name"]) for column in targets["columns"]]
    for name in names:
        _check_there(name, table, where)
    if targets["kind"] == "class":
        return _labels(names[0], table.column(names[0]), targets["labels"], where)
    values = np.stack([numbers(name, table.column(name), where) for name in names], axis=1)
    _check_finite(names, values, where)
    if targets["kind"] == "several":
        return _whole(names, values, where)
    return values[:, 0] if len(names) == 1 else values


def _kind(table: Any, names: Sequence[str], kinds: Mapping[str, str], target_type: str) -> str:
    if target_type == "number":
        return "number"
    if len(names) == 1:
        return "number" if kinds[names[0]] == "number" and target_type == "auto" else "class"
    whole = all(kind in ("integer", "boolean") for kind in kinds.values())
    if (whole or target_type == "class") and all(_zeros_and_ones(name, table) for name in names):
        return "several"
    if target_type == "class":
        raise DataError(
            f"dataset.target = {', '.join(names)}: several columns of classes are expected to hold 0 and 1 (or "
            "booleans), one column a label. Name one column; or choose dataset.target_type=number."
        )
    return "number"


def _zeros_and_ones(name: str, table: Any) -> bool:
    return bool(np.isin(numbers(name, table.column(name), "train"), (0, 1)).all())


def _check_kind(name: str, found: str, column: Any, *, only_numbers: bool) -> None:
    if found == "text" and only_numbers:
        numbers(name, column, "train")  # says which is the first that is none
    elif found not in ("number", "integer", "boolean", "text"):
        raise DataError(
            f"the target {name!r} holds {found}: expected {'numbers' if only_numbers else 'classes or numbers'}. "
            "Name another column, or convert it first."
        )


def _check_whole(name: str, column: Any, where: str = "train") -> None:
    gone = missing(column)
    if gone.any():
        raise DataError(
            f"{where}: the target {name!r} is missing in {int(gone.sum()):,} of {len(gone):,} rows, the first row "
            f"{int(gone.argmax())} (rows count from 0). Leave such rows out (dataset.missing=drop does), or fill them."
        )


def _check_there(name: str, table: Any, where: str) -> None:
    if name not in table.column_names:
        close = nearest(name, table.column_names)
        hint = f"did you mean {close!r}? " if close else ""
        raise DataError(
            f"{where}: the target {name!r} is missing: {hint}There are: {', '.join(table.column_names)}. "
            "Without it, rows can be predicted but not measured."
        )
    _check_whole(name, table.column(name), where)


def _classes(name: str, column: Any, *, sure: bool) -> list[str]:
    labels = labels_in(column)
    if len(labels) < 2:
        _refuse_constant(name, labels[0])
    if len(labels) > MOST_CLASSES and not sure:
        raise DataError(
            f"the target {name!r} has {len(labels):,} different values in {len(column):,} rows: classes, or numbers? "
            f"Expected at most {MOST_CLASSES:,} classes. For numbers, choose task=regression (dataset.target_type="
            "number); for classes, dataset.target_type=class."
        )
    return labels


def _refuse_constant(name: str, value: str) -> None:
    raise DataError(
        f"the target {name!r} is {value!r} in every row of train: there is nothing to learn. Name another column, or "
        "give rows with other values."
    )


def _labels(name: str, column: Any, labels: Sequence[str], where: str) -> Array:
    found = positions(column, labels)
    if (found < 0).any():
        row = int((found < 0).argmax())
        first = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
        raise DataError(
            f"{where}: the target {name!r} of row {row} is {column[row].as_py()!r} (rows count from 0), which train "
            f"does not have: expected one of {first}. Leave such rows out, or add some of them to train."
        )
    return found


def _check_finite(names: Sequence[str], values: Array, where: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(place) for place in np.argwhere(bad)[0])
        raise DataError(
            f"{where}: the target {names[column]!r} of row {row} is {values[row, column]:g} (rows count from 0): "
            "expected a finite number. Leave such rows out, or correct them."
        )


def _whole(names: Sequence[str], values: Array, where: str) -> Array:
    bad = ~np.isin(values, (0, 1))
    if bad.any():
        row, column = (int(place) for place in np.argwhere(bad)[0])
        raise DataError(
            f"{where}: the target {names[column]!r} of row {row} is {values[row, column]:g} (rows count from 0): "
            "expected 0 or 1, as in train, where the targets are several labels."
        )
    return values.astype(np.int64)
