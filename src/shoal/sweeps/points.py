"""From a base and overrides to recipes: each point composed and checked, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoal.errors import InputError, RecipeError
from shoal.pages.naming import name_of, short_keys
from shoal.recipe import Recipe
from shoal.recipe.compose import apply
from shoal.recipe.flat import flat
from shoal.recipe.parse import PARTS, parse
from shoal.sweeps.grid import Overrides

SHOWN = 3
"""Points that a message names."""


@dataclass(frozen=True)
class Wanted:
    """One run that is wanted: its recipe, and what of it is its own."""

    recipe: Recipe
    overrides: Overrides = field(default_factory=dict[str, Any])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    """The keys that vary among the points, with this one's values; the seed is not among them."""


@dataclass(frozen=True)
class Request:
    """Everything that a sweep wants, in the order in which it was said."""

    base: Recipe
    keys: tuple[str, ...]
    """What varies, beside the seed."""
    wanted: tuple[Wanted, ...]
    doubled: int = 0
    """Points that were there twice; each is wanted once."""


def compose(base: Recipe, points: Iterable[Overrides]) -> Request:
    """Return what is wanted; raises RecipeError that names the point for a recipe that cannot be.

    Points that come to the same recipe are one; a key varies where two points have different values of it.
    """
    mapping = base.mapping()
    found = dict[str, tuple[Recipe, Overrides]]()
    count = 0
    for point in points:
        count += 1
        recipe = composed(mapping, point)
        found.setdefault(recipe.model_dump_json(), (recipe, point))
    if not count:
        raise InputError("the grid is empty: nothing is left to train.")
    rows = [flat(recipe.mapping()) for recipe, _ in found.values()]
    said = dict.fromkeys(name for _, point in found.values() for name in point)
    keys = _varying(rows, tuple(said))
    wanted = [
        Wanted(recipe, overrides, {key: row[key] for key in keys if key in row})
        for (recipe, overrides), row in zip(found.values(), rows, strict=True)
    ]
    return Request(base, keys, tuple(wanted), count - len(wanted))


def composed(base: Mapping[str, Any], overrides: Overrides) -> Recipe:
    """Return the recipe of one point; raises RecipeError that says which point it was."""
    try:
        return parse(apply(base, list(overrides.items())))
    except RecipeError as error:
        named = name_of(overrides, short_keys(list(overrides)))
        raise RecipeError(f"the point {named or '(the base itself)'}: {error}") from error


def between(base: Recipe, other: Recipe) -> Overrides:
    """Return the overrides that make `other` of `base`: names of parts first, then every key that differs."""
    ours, theirs = flat(base.mapping()), flat(other.mapping())
    changes = dict[str, Any]()
    exchanged = [path for path in PARTS if ours.get(f"{path}.name") != theirs.get(f"{path}.name")]
    for path in exchanged:
        changes[path] = theirs[f"{path}.name"]
    for key, value in theirs.items():
        part = next((path for path in exchanged if key.startswith(f"{path}.")), None)
        if key.startswith("budget."):
            if value is not None and ours.get(key) != value:
                changes[key] = value
        elif part is not None:
            if key != f"{part}.name":
                changes[key] = value
        elif key not in ours or ours[key] != value:
            changes[key] = value
    return changes


def _varying(rows: Sequence[Mapping[str, Any]], said: Sequence[str]) -> tuple[str, ...]:
    """The keys that not all recipes agree on, the seed apart, in the order in which they were said.

    Of a part that is exchanged they are its name, and the keys that differ among those of one name.
    """
    first = [name for key in said for name in (key, f"{key}.name")]
    present = dict.fromkeys(key for row in rows for key in row)
    keys = dict.fromkeys([*(key for key in first if key in present), *present])
    differing = [key for key in keys if key != "seed" and len({repr(row.get(key)) for row in rows}) > 1]
    exchanged = [path for path in PARTS if f"{path}.name" in differing]
    return tuple(key for key in differing if not any(_is_of(key, path, rows) for path in exchanged))


def _is_of(key: str, path: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a key differs only because entries have different keys: it is the same for all of one name."""
    if not key.startswith(f"{path}.") or key == f"{path}.name":
        return False
    by_name = dict[Any, set[str]]()
    for row in rows:
        by_name.setdefault(row.get(f"{path}.name"), set()).add(repr(row.get(key)))
    return all(len(values) == 1 for values in by_name.values())
