"""Why a training that looks like an old one is a new run: its recipe is the same, its data or code are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from shoal.errors import StoreError
from shoal.store import RunFolder, record

Digests = Mapping[str, str]

NAMES = {"dataset": "the data"}
"""What a digest stands for; all others are those of source code."""
MEANT = {"init", "frozen"}
"""Digests that change because a person said something else, with keys that are in no signature."""


def changes_since(runs: Path, identity: Mapping[str, Any], seed: int) -> Iterator[str]:
    """Yield a sentence for each run in a runs folder with this recipe and seed, but other data or code.

    `identity` is what the new run's signature is made of (`recipe.canonical`). A run that cannot be read is left out.
    """
    now = cast(Digests, identity.get("digests") or {})
    for path in sorted(runs.glob(f"*/seed-{seed}/run.json")):
        folder = RunFolder(path.parent)
        try:
            known = cast(Mapping[str, Any], record.read(folder).get("identity") or {})
        except StoreError:
            continue
        before = cast(Digests, known.get("digests") or {})
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if MEANT & set(changed):
            continue
        if changed and known.get("recipe") == identity["recipe"]:
            what = " and ".join(NAMES.get(key, f"the source of the {key}") for key in changed)
            yield f"{what} changed since {folder.label}: this is another run."
