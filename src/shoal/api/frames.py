"""Rows as a DataFrame of pandas, which is imported when one is asked for, and need not be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, cast

from shoal.errors import InputError


def dataframe(rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]], **options: Any) -> Any:
    """Return a pandas DataFrame; raises InputError where pandas is not installed."""
    try:
        pandas: Any = import_module("pandas")
    except ImportError as error:
        raise InputError(
            "a frame is a table of pandas, which is not installed: pip install 'shoal[frame]'. "
            "run.history and shoal.runs(...).rows() are the same as plain lists."
        ) from error
    return pandas.DataFrame(cast(Any, rows), **options)
