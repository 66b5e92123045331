"""Many runs as rows: one a run, with facts, keys of the recipe and metrics; or one a line of their histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.errors import ShoalError
from shoal.pages.splits import split_of
from shoal.store import RunFolder, read_journal, record
from shoal.store.catalog import UNREADABLE

FACTS = ("run", "name", "signature", "seed", "status", "steps", "folder")
SAID = ("tags", "note")
"""What people said of runs: in the rows of those of which something was said."""

Row = dict[str, Any]
ReadRecipe = Callable[[Path], Mapping[str, Any]]
"""Reads the keys of a recipe file, dotted, as `recipe.flat.read` does, which needs more than this room may import."""


def row_of(folder: RunFolder, read_recipe: ReadRecipe) -> Row:
    """Return the row of one run; of one that cannot be read, what its folder says."""
    try:
        known, recipe = record.read(folder), read_recipe(folder.recipe)
        found = record.result(folder, known)
    except ShoalError:  # one damaged folder does not hide the others; opening the run says what is wrong
        return {**dict.fromkeys(FACTS), "run": folder.label, "status": UNREADABLE, "folder": str(folder.path)}
    found["name"] = known.get("name", recipe.get("name"))
    said: Row = {"tags": ",".join(found["tags"])} if "tags" in found else {}
    said |= {"note": found["note"]} if "note" in found else {}
    keys = {key: value for key, value in recipe.items() if key not in FACTS}
    return {**{fact: found[fact] for fact in FACTS}, **said, **keys, **found["metrics"]}


def names_of(rows: Sequence[Mapping[str, Any]], *, varying: bool = False) -> list[str]:
    """Return the columns: facts, recipe keys, metrics, each in the order in which they first come.

    With `varying`, recipe keys that are the same in all rows are left out.
    """
    names = sorted(dict.fromkeys([*FACTS, *(name for row in rows for name in row)]), key=is_metric)
    return [name for name in names if not varying or _fixed(name) or varies(rows, name)]


def varies(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Return whether a column has more than one value, runs whose recipe is not known left out."""
    known = [row for row in rows if not all(map(_fixed, row))] if not _fixed(name) else rows
    return len({repr(row.get(name)) for row in known}) > 1


def is_metric(name: str) -> bool:
    """Return whether a column is a metric's."""
    return split_of(name) != ""


def history_rows(folders: Iterable[RunFolder]) -> Iterator[Row]:
    """Yield the rows of all histories, each under its run's label and seed; lines that cannot be read are left out."""
    for folder in folders:
        try:
            seed = record.result(folder)["seed"]
        except ShoalError:
            continue
        for row in read_journal(folder.history)[0]:
            yield {"run": folder.label, "seed": seed, **row}


def _fixed(name: str) -> bool:
    return name in FACTS or name in SAID or is_metric(name)
