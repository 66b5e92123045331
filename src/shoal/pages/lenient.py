"""Values out of a record that anything may have written: what is not of the kind that is asked for is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def inner(known: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the mapping under a key, {} where there is none."""
    value = known.get(key)
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def rows_of(known: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the mappings in the list under a key."""
    value = known.get(key)
    found = cast(list[Any], value) if isinstance(value, list) else []
    return [cast(dict[str, Any], item) for item in found if isinstance(item, dict)]


def texts_of(known: Mapping[str, Any], key: str) -> list[str]:
    """Return the items of the list under a key as texts."""
    value = known.get(key)
    return [str(item) for item in cast(list[Any], value)] if isinstance(value, list) else []


def real(value: object) -> float | None:
    """Return a number, None for anything else; a boolean is no number, nor is what is too large to be one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
