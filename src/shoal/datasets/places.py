"""The place that `dataset.path` names: found, or refused with the nearest name that is there."""

from __future__ import annotations

from pathlib import Path

from shoal.errors import DataError, nearest
from shoal.files import expanded


def existing(path: str | None, expected: str) -> Path:
    """Return the place that is named; raises DataError where none is, saying what was `expected` there."""
    if path is None:
        raise DataError(f"dataset.path is not set: expected {expected}. Say where it is: dataset.path=PATH.")
    place = expanded(path)
    if place.exists():
        return place
    raise DataError(f"dataset.path = {path!r}: it does not exist{_hint(place)}; expected {expected}.")


def _hint(place: Path) -> str:
    """Where the path stops being there, and what is there instead."""
    missing = place
    while not missing.parent.exists():
        missing = missing.parent
    if not missing.parent.is_dir():
        return f", for {missing.parent} is a file"
    close = nearest(missing.name, (found.name for found in missing.parent.iterdir()))
    if close is not None:
        return f": did you mean {missing.parent / close}?"
    return "" if missing == place else f", and neither does {missing}"
