"""Why a training that looks like an old one is a new run: its recipe is the same, its data or code are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

from shoal.errors import StoreError
from shoal.store import RunFolder, record
from shoal.store.catalog import folders_in
from shoal.store.layout import SEED

Digests = Mapping[str, str]

NAMES = {"dataset": "the data"}
"""What a digest stands for; all others are those of source code."""
MEANT = {"init", "frozen"}
"""Digests that change because a person said something else, with keys that are in no signature."""


class _Run(NamedTuple):
    """What is known of a run that was there before."""

    started: str
    label: str
    digests: Digests
    path: str | None


class Known:
    """The runs that were in a folder when it was first asked; those that cannot be read are left out."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs

    def changes_since(self, identity: Mapping[str, Any], seed: int, *, path: str | None) -> str | None:
        """Return a sentence on the newest run with this recipe and seed, but other data at this path, or other code.

        `identity` is what the new run's signature is made of (`recipe.canonical`), `path` where its data lie.
        """
        now = cast(Digests, identity.get("digests") or {})
        found: list[tuple[str, str]] = []
        for run in self._by_recipe.get(_key(identity.get("recipe"), seed), ()):
            changed = _changed(run.digests, now)
            if "dataset" in changed and run.path != path:
                continue  # other data were named
            if changed and not MEANT & set(changed):
                what = " and ".join(NAMES.get(key, f"the source of the {key}") for key in changed)
                found.append((run.started, f"{what} changed since {run.label}: this is another run."))
        return max(found)[1] if found else None

    @cached_property
    def _by_recipe(self) -> dict[str, list[_Run]]:
        found: dict[str, list[_Run]] = {}
        for folder in folders_in(self.runs):
            number = SEED.fullmatch(folder.path.name)
            known = _read(folder) if number else dict[str, Any]()
            if number is None or not known:
                continue
            identity = cast(Mapping[str, Any], known.get("identity") or {})
            path = cast(Mapping[str, Any], known.get("data") or {}).get("path")
            run = _Run(str(known.get("started")), folder.label, cast(Digests, identity.get("digests") or {}), path)
            found.setdefault(_key(identity.get("recipe"), int(number["seed"])), []).append(run)
        return found


def _read(folder: RunFolder) -> Mapping[str, Any]:
    try:
        return record.read(folder)
    except StoreError:
        return {}


def _key(recipe: object, seed: int) -> str:
    return f"{seed} {json.dumps(recipe, sort_keys=True)}"


def _changed(before: Digests, now: Digests) -> list[str]:
    return sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
