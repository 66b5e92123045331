"""Why a training that looks like an old one is a new run: its recipe is the same, its data or code are not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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


class KnownRun(NamedTuple):
    """What is known of a run that was there before."""

    started: str
    folder: RunFolder
    identity: Mapping[str, Any]
    path: str | None

    @property
    def digests(self) -> Digests:
        """What its data and code were."""
        return cast(Digests, self.identity.get("digests") or {})


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
        for run in self._found.get(_key(seed, "recipe", _recipe(identity)), ()):
            changed = _changed(run.digests, now)
            if "dataset" in changed and run.path != path:
                continue  # other data were named
            if changed and not MEANT & set(changed):
                what = " and ".join(NAMES.get(key, f"the source of the {key}") for key in changed)
                same = "where it changes no result, 'shoal migrate' can keep the old one"
                found.append((run.started, f"{what} changed since {run.folder.label}: this is another run ({same})."))
        return max(found)[1] if found else None

    def that_said(self, words: Mapping[str, Any], seed: int) -> Sequence[KnownRun]:
        """Return the runs of a seed whose recipes said this beside the defaults."""
        return self._found.get(_key(seed, "said", words), ())

    def asked_for_by(self, command: str, seed: int) -> Sequence[KnownRun]:
        """Return the runs of a seed that were asked for by this command."""
        return self._found.get(_key(seed, "command", command), ())

    @cached_property
    def _found(self) -> dict[str, list[KnownRun]]:
        found: dict[str, list[KnownRun]] = {}
        for folder in folders_in(self.runs):
            number = SEED.fullmatch(folder.path.name)
            known = _read(folder) if number else dict[str, Any]()
            if number is None or not known.get("identity"):
                continue
            identity = cast(Mapping[str, Any], known["identity"])
            path = cast(Mapping[str, Any], known.get("data") or {}).get("path")
            run, seed = KnownRun(str(known.get("started")), folder, identity, path), int(number["seed"])
            provenance = cast(Mapping[str, Any], known.get("provenance") or {})
            for key in (
                _key(seed, "recipe", _recipe(identity)),
                _key(seed, "said", words(known.get("said") or ())),
                _key(seed, "command", provenance.get("command")),
            ):
                found.setdefault(key, []).append(run)
        return found


def words(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was said that is no default, by key, of rows of `recipe.said.differences`."""
    return {row["key"]: row["value"] for row in rows if row["value"] != row["default"]}


def _read(folder: RunFolder) -> Mapping[str, Any]:
    try:
        return record.read(folder)
    except StoreError:
        return {}


def _recipe(identity: Mapping[str, Any]) -> list[Any]:
    """What was to be trained, and by which program where that is one of the user's."""
    return [identity.get("recipe"), identity.get("program")]


def _key(seed: int, kind: str, value: object) -> str:
    return f"{seed} {kind} {json.dumps(value, sort_keys=True)}"


def _changed(before: Digests, now: Digests) -> list[str]:
    return sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
