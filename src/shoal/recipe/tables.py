"""The explicit tables in which every name of a recipe is resolved: kind, name, class of parameters.

The builder of an entry lives in the room of its kind, under the same name; a contract test matches the two. Nothing
is imported because a file says so: a name that is in no table is an error that lists the names that are.
"""

from __future__ import annotations

from typing import TypeVar

from shoal.errors import RecipeError, unknown
from shoal.recipe.fields import Part
from shoal.recipe.words import shown

P = TypeVar("P", bound=type[Part])

TABLES: dict[str, dict[str, type[Part]]] = {
    "dataset": {},
    "model": {},
    "task": {},
    "optimizer": {},
    "schedule": {},
    "average": {},
}


def entry(kind: str, cls: P) -> P:
    """Add a class of parameters to the table of its kind, under the default of its `name` field."""
    name = cls.model_fields["name"].default
    there = TABLES[kind].get(name)
    if there is not None and (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
        raise RecipeError(f"the {kind} '{name}' is registered twice: give one of them another name.")
    TABLES[kind][name] = cls
    return cls


def lookup(kind: str, name: object) -> type[Part]:
    """Return the class of parameters of an entry, or raise RecipeError with the nearest name and the list."""
    table = TABLES[kind]
    if not isinstance(name, str):
        raise RecipeError(f"{shown(name)} is no name: expected one of: {', '.join(sorted(table))}.")
    if name not in table:
        hint = "" if kind == "schedule" else " An entry of your own comes with --module MODULE."
        raise RecipeError(unknown(kind, name, table) + hint)
    return table[name]
