"""`shoal schema [KEY]`: what a recipe may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.cli import output
from shoal.errors import InputError, nearest
from shoal.pages.blocks import Block, Column, Grid, Heading
from shoal.pages.formats import clean
from shoal.recipe.describe import keys

Row = Mapping[str, Any]

SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
LARGE = 10**9


def run(key: str | None, *, modules: Sequence[str] = (), json: bool) -> int:
    """Print the keys; return the exit code."""
    if modules:
        from shoal.assembly import import_modules  # noqa: PLC0415 imports torch

        import_modules(modules)
    rows = keys() if key is None else select(keys(), key)
    if json:
        output.results(rows)
    else:
        output.page(_page(rows))
    return 0


def select(rows: Sequence[Row], key: str) -> list[Row]:
    """Return the rows of a key and of those below it, of an entry, or of a key's last word.

    Raises InputError with the nearest.
    """
    meanings: tuple[Callable[[Row], bool], ...] = (
        lambda row: row["key"] == key or row["key"].startswith(f"{key}."),
        lambda row: row.get("entry") == key,
        lambda row: row["key"].endswith(f".{key}"),
    )
    for means in meanings:
        if found := [row for row in rows if means(row)]:
            return found
    close = nearest(
        key, {word for row in rows for word in (row["key"], row["key"].partition(".")[0], row.get("entry", ""))}
    )
    raise InputError(
        f"no key {key!r}{f': did you mean {close!r}?' if close else '.'} 'shoal schema' lists all of them."
    )


def _page(rows: Sequence[Row]) -> list[Block]:
    """Keys of the recipe itself first, then those of each entry under the entry's name."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        entry = row.get("entry")
        groups.setdefault(f"{row['key'].rpartition('.')[0]}: {entry}" if entry else "recipe", []).append(row)
    return [block for name, group in groups.items() for block in (Heading(clean(name)), _grid(group))]


def _grid(rows: Sequence[Row]) -> Grid:
    columns = [Column(title) for title in ("key", "type", "default", "bounds", "unit", "meaning")]
    return Grid(columns, [[clean(cell) for cell in _cells(row)] for row in rows])


def _cells(row: Row) -> list[str]:
    bounds = " ".join(f"{sign}{_bound(row['bounds'][word])}" for word, sign in SIGNS.items() if word in row["bounds"])
    default = "required" if row["required"] else _value(row["default"])
    return [row["key"], row["type"], default, bounds, row["unit"] or "", row["meaning"]]


def _bound(value: float) -> str:
    """Return a bound; one like 2^63 as such."""
    large = isinstance(value, int) and value > LARGE and value.bit_count() == 1
    return f"2^{int(value).bit_length() - 1}" if large else f"{value:g}"


def _value(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
