"""The cells of a table's columns: which are missing, what they are as numbers and as texts.

Columns are those of pyarrow. Nothing here knows what a column is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from shoal.datasets.table_file import arrow
from shoal.errors import DataError

Array = np.ndarray[Any, Any]


def word(kind: Any) -> str:
    """Return what a pyarrow type is here: number, integer, boolean, text, category, date, nothing, or its own name."""
    types: Any = arrow().types
    known: dict[str, tuple[Any, ...]] = {
        "number": (types.is_floating, types.is_decimal),
        "integer": (types.is_integer,),
        "boolean": (types.is_boolean,),
        "text": (types.is_string, types.is_large_string, types.is_string_view),
        "category": (types.is_dictionary,),
        "date": (types.is_date, types.is_timestamp),
        "nothing": (types.is_null,),
    }
    return next((name for name, tests in known.items() if any(test(kind) for test in tests)), str(kind))


def missing(column: Any) -> Array:
    """Return which rows of a column have no value, bool [N]; NaN is none."""
    return arrow().compute.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)


def plain(column: Any) -> Any:
    """Return a column with what a dictionary stands for in its place."""
    return column.cast(column.type.value_type) if word(column.type) == "category" else column


def texts(column: Any) -> Any:
    """Return a column as text without blanks around it; what is missing stays missing."""
    pa = arrow()
    trimmed = pa.compute.utf8_trim(plain(column).cast(pa.string()), " \t")
    return pa.compute.if_else(pa.array(missing(column)), pa.scalar(None, pa.string()), trimmed)


def numbers(name: str, column: Any, where: str) -> Array:
    """Return a column as float64 [N], NaN where it is missing, dates as days since 1970-01-01.

    Raises DataError that says which value is the first that is no number.
    """
    pa, found = arrow(), word(column.type)
    try:
        if found == "date":
            return plain_numbers(column.cast(pa.timestamp("us")).cast(pa.int64())) / 86_400e6
        return plain_numbers(texts(column) if word(plain(column).type) == "text" else plain(column))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{where}: {name!r} holds {found}, expected numbers{_first(column)}. Leave that value empty where it is "
            "missing, or correct it."
        ) from error


def plain_numbers(column: Any) -> Array:
    """Return a column of numbers, or of texts that say them, as float64 [N]."""
    return column.cast(arrow().float64(), safe=False).to_numpy(zero_copy_only=False)


def labels_in(column: Any) -> list[str]:
    """Return the distinct values of a column as text: numbers in their order, all else in that of the alphabet."""
    found = plain(column).unique().drop_null()
    if word(found.type) == "text":
        return sorted(set(cast("list[str]", texts(found).to_pylist())))
    ordered = found.take(arrow().compute.sort_indices(found))
    return [text for text in cast("list[str | None]", texts(ordered).to_pylist()) if text is not None]


def positions(column: Any, labels: Sequence[str]) -> Array:
    """Return the place of each row's value among `labels`, int64 [N]; -1 where it is none of them."""
    pa = arrow()
    found = pa.compute.index_in(texts(column), value_set=pa.array(labels, pa.string()))
    return pa.compute.fill_null(found, pa.scalar(-1, pa.int32())).to_numpy(zero_copy_only=False).astype(np.int64)


def share_of_numbers(column: Any) -> float:
    """Return which share of a text column's values, missing ones left out, are numbers."""
    counted = texts(column).drop_null().value_counts()
    counts = np.array([item["counts"] for item in counted.to_pylist()], dtype=np.float64)
    are = np.array([_is_number(item["values"]) for item in counted.to_pylist()], dtype=bool)
    return float(counts[are].sum() / counts.sum()) if len(counts) else 0.0


def first_word(column: Any) -> tuple[int, str] | None:
    """Return the first row of a column that is neither missing nor a number, and its text."""
    every = cast("list[str | None]", texts(column).to_pylist())
    return next(((row, text) for row, text in enumerate(every) if text is not None and not _is_number(text)), None)


def _first(column: Any) -> str:
    found = first_word(column) if word(column.type) in ("text", "category") else None
    return "" if found is None else f": row {found[0]} has {found[1]!r} (rows count from 0)"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
