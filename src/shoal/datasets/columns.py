"""The columns of a table: what each is, found once in train, and how rows become numbers by it.

An encoding is plain data, recorded with the run, and `encode` is the only way from rows to inputs: training, testing
and predicting go through it. A number is itself; a date is days since 1970-01-01; texts, booleans and whatever is
named as categorical become one input for each category of train. Where train has missing values, a number is its
median and one more input says that it was missing; a category is one of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np

from shoal.datasets.cells import (
    first_word,
    labels_in,
    missing,
    numbers,
    plain,
    positions,
    share_of_numbers,
    texts,
    word,
)
from shoal.datasets.table_file import arrow
from shoal.errors import DataError, nearest

MOST_CATEGORIES = 1_000
NEARLY = 0.9
"""A column of text with at least this share of numbers is one of numbers with a few words in it."""
STEPS = 1 << 12
"""A column has its median subtracted where float32 has fewer steps than these between its smallest and largest."""

Array = np.ndarray[Any, Any]
Column = Mapping[str, Any]


def describe(table: Any, names: Sequence[str], *, categorical: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return what each named column of train is: plain data for `encode`; raises DataError that names a column."""
    return [_described(name, table.column(name), named=name in categorical) for name in names]


def encode(encoding: Mapping[str, Any], table: Any, *, where: str = "the table") -> Array:
    """Return the inputs of a table's rows, float32 [N, F], by the encoding of a run; columns of no use are left alone.

    Raises DataError for a column that is missing or that holds other things than in train.
    """
    stop = encoding["missing"] == "stop"
    blocks = [_encoded(column, _column(table, column["name"], where), where, stop) for column in encoding["columns"]]
    return np.concatenate(blocks, axis=1)


def feature_names(encoding: Mapping[str, Any]) -> list[str]:
    """Return the name of each input that `encode` makes: `age`, `age is missing`, `city = Bern`."""
    found: list[str] = []
    for column in cast("list[Column]", encoding["columns"]):
        name = column["name"]
        found += [f"{name} = {value}" for value in column["categories"]] if "categories" in column else [name]
        found += [f"{name} is missing"] * bool(column["missing"])
    return found


def scaled(encoding: Mapping[str, Any]) -> Array:
    """Return which inputs are numbers to be normalised, bool [F]: the others are 0 and 1, and stay so."""
    columns = cast("list[Column]", encoding["columns"])
    return np.concatenate([[column["kind"] == "number"] + [False] * (_width(column) - 1) for column in columns])


def remarks(encoding: Mapping[str, Any], table: Any, *, where: str) -> list[str]:
    """Return a sentence for each column with values that train did not have: new categories, missing ones."""
    said: list[str] = []
    for column in cast("list[Column]", encoding["columns"]):
        found = table.column(column["name"])
        gone = missing(found)
        if "categories" in column:
            new = texts(found).filter(arrow().array((_indices(column, found) < 0) & ~gone))
            if len(new):
                named = f"{column['name']!r} has {len(new):,} value{'s' * (len(new) != 1)} that train does not have"
                said.append(f"{where}: {named} (first {new[0].as_py()!r}): none of its categories is set there")
        if gone.any() and not column["missing"]:
            taken = "none of its categories is" if "categories" in column else f"its median {column['fill']:g} is"
            said.append(f"{where}: {column['name']!r} has {int(gone.sum()):,} missing, and train has none: {taken} set")
    return said


def _described(name: str, column: Any, *, named: bool) -> dict[str, Any]:
    found, leave_out = word(column.type), f"Leave it out: dataset.ignore=[{name}]"
    gone = missing(column)
    if gone.all():
        raise DataError(f"{name!r} has no value in any row of train. {leave_out}.")
    shared = {"name": name, "type": found, "missing": bool(gone.any())}
    if named or found in ("text", "boolean", "category"):
        categories = labels_in(column)
        if len(categories) > MOST_CATEGORIES:
            raise DataError(
                f"{name!r} is {found} with {len(categories):,} different values, and each would be an input: expected "
                f"at most {MOST_CATEGORIES:,}. {leave_out}; or put values into groups first."
            )
        return {**shared, "type": word(plain(column).type), "kind": "category", "categories": categories}
    if found not in ("number", "integer", "date"):
        kind = "binary data, or text that is not UTF-8" if found.endswith("binary") else found
        raise DataError(f"{name!r} holds {kind}: expected numbers, texts, booleans or dates. {leave_out}.")
    values = numbers(name, column, "train")
    known = values[np.isfinite(values)]
    fill = float(np.median(known)) if len(known) else 0.0  # what is not finite is refused where it is encoded
    return {**shared, "kind": "number", "fill": fill, "centre": fill if _blurred(known) else 0.0}


def refuse_words(table: Any, names: Sequence[str], where: str, *, otherwise: str) -> None:
    """Raise DataError for a column of text that is nearly all numbers: what is not is a typing error, most likely."""
    for name in names:
        column = table.column(name)
        share = share_of_numbers(column) if word(column.type) == "text" else 0.0
        found = first_word(column) if NEARLY <= share < 1 else None
        if found is not None:
            raise DataError(
                f"{where}: {name!r} is text, though {share:.1%} of its values are numbers: row {found[0]} has "
                f"{found[1]!r} (rows count from 0). Leave it empty where it is missing, or correct it; "
                f"{otherwise.format(name)}."
            )


def _blurred(values: Array) -> bool:
    """Whether values lie so close together, for their size, that float32 would merge them."""
    if not len(values):
        return False
    low, high = float(values.min()), float(values.max())
    return 0 < high - low < STEPS * max(abs(low), abs(high)) * 2.0**-23


def _column(table: Any, name: str, where: str) -> Any:
    if name not in table.column_names:
        close = nearest(name, table.column_names)
        hint = f"did you mean {close!r}? " if close else ""
        raise DataError(
            f"{where}: the column {name!r} is missing, which the model was trained on: {hint}"
            f"There are: {', '.join(table.column_names)}."
        )
    return table.column(name)


def _encoded(column: Column, found: Any, where: str, stop: bool) -> Array:
    gone, name = missing(found), column["name"]
    if stop and gone.any():
        raise DataError(
            f"{where}: {name!r} is missing in {int(gone.sum()):,} rows, the first row {int(gone.argmax())} (rows count "
            "from 0), and dataset.missing is stop. Fill them, or choose dataset.missing=impute or drop."
        )
    block = np.zeros((len(found), _width(column)), np.float32)
    if "categories" in column:
        indices = _indices(column, found)
        block[indices >= 0, indices[indices >= 0]] = 1
    else:
        block[:, 0] = _filled(column, found, gone, where)
    if column["missing"]:
        block[gone, -1] = 1
    return block


def _filled(column: Column, found: Any, gone: Array, where: str) -> Array:
    if (column["type"] == "date") != (word(found.type) == "date") and not gone.all():
        raise DataError(
            f"{where}: {column['name']!r} holds {word(found.type)}, and in train {column['type']}: expected the same. "
            "Dates are written 2026-01-31, or 2026-01-31 12:30:00."
        )
    values = numbers(column["name"], found, where)
    with np.errstate(over="ignore"):
        filled = (np.where(gone, column["fill"], values) - column["centre"]).astype(np.float32)
    bad = ~np.isfinite(filled)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{where}: {column['name']!r} has {int(bad.sum()):,} values that are infinite or beyond float32, the first "
            f"in row {row} ({values[row]:g}; rows count from 0). Leave them empty where they are missing, or correct "
            "them."
        )
    return filled


def _indices(column: Column, found: Any) -> Array:
    return positions(found, column["categories"])


def _width(column: Column) -> int:
    return len(column.get("categories", (0,))) + bool(column["missing"])
