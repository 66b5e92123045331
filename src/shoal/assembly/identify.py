"""Which runs recipes are, before any of them is trained: many at once, what they share looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shoal.assembly.build import Workshop, data_path
from shoal.assembly.defaults import defaults_since
from shoal.assembly.objects import Objects
from shoal.assembly.warm import Warm
from shoal.recipe import Recipe


@dataclass(frozen=True)
class Identified:
    """The signature of a recipe's experiment, and why a run that looks like it is another one (None: there is none)."""

    signature: str
    stale: str | None = None


def identify(recipes: Sequence[Recipe], warm: Warm, objects: Objects = Objects()) -> Iterator[Identified]:
    """Yield the identity of each recipe; raises InputError for one whose data or model cannot be had."""
    known = warm.known
    for recipe in recipes:
        workshop = Workshop(recipe, objects, warm.runs, shelf=warm.shelf)
        stale = known.changes_since(workshop.identity, recipe.seed, path=data_path(recipe))
        stale = stale or defaults_since(known, recipe, workshop.identity)
        yield Identified(workshop.signature, stale)
