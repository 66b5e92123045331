"""Why a training that looks like an old one is a new run: its recipe is the same, its data or code are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from shoal.errors import StoreError
from shoal.store import RunFolder, record

Digests = Mapping[str, str]

NAMES = {"dataset": "the data"}
"""What a digest stands for; all others are those of source code."""
MEANT = {"init", "frozen"}
"""Digests that change because a person said something else, with keys that are in no signature."""


def changes_since(runs: Path, identity: Mapping[str, Any], seed: int, *, path: str | None) -> str | None:
    """Return a sentence on the newest run with this recipe and seed, but other data at this path, or other code.

    `identity` is what the new run's signature is made of (`recipe.canonical`), `path` where its data lie. Runs that
    cannot be read are left out.
    """
    now = cast(Digests, identity.get("digests") or {})
    found: list[tuple[str, str]] = []
    for file in sorted(runs.glob(f"*/seed-{seed}/run.json")):
        folder = RunFolder(file.parent)
        try:
            known = record.read(folder)
        except StoreError:
            continue
        before = cast(Mapping[str, Any], known.get("identity") or {})
        changed = _changed(cast(Digests, before.get("digests") or {}), now)
        if "dataset" in changed and (known.get("data") or {}).get("path") != path:
            continue  # other data were named
        alike = all(before.get(key) == identity.get(key) for key in ("recipe", "program"))
        if changed and not MEANT & set(changed) and alike:
            what = " and ".join(NAMES.get(key, f"the source of the {key}") for key in changed)
            found.append((str(known.get("started")), f"{what} changed since {folder.label}: this is another run."))
    return max(found)[1] if found else None


def _changed(before: Digests, now: Digests) -> list[str]:
    return sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
