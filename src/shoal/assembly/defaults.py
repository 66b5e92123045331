"""Why a training that was asked for in the same words as an old one is a new run: a default has changed since.

What a run's recipe says beside the defaults is in its record, and all its values are in its recipe: the same words and
other values are other defaults. The old run keeps the values that it was trained with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shoal.assembly.meaning import Difference, differences
from shoal.errors import ShoalError
from shoal.recipe import Recipe, flat
from shoal.recipe.said import differences as said_in
from shoal.recipe.words import shown
from shoal.store import RunFolder, record

MOST = 3
"""Keys that a sentence names."""


def defaults_since(runs: Path, recipe: Recipe, identity: Mapping[str, Any]) -> str | None:
    """Return a sentence on the newest run that said the same, under other defaults, with the same seed.

    `identity` is what the new run's signature is made of. Runs that cannot be read are left out.
    """
    words, found = _words(said_in(recipe)), list[tuple[str, str]]()
    for file in runs.glob(f"*/seed-{recipe.seed}/run.json"):
        folder = RunFolder(file.parent)
        try:
            known = record.read(folder)
            if not known.get("identity") or _words(known.get("said") or ()) != words:
                continue
            if sentence := _sentence(folder, recipe, differences(known["identity"], identity)):
                found.append((str(known.get("started")), sentence))
        except ShoalError:
            continue
    return max(found)[1] if found else None


def _words(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What was said that is no default, by key."""
    return {row["key"]: row["value"] for row in rows if row["value"] != row["default"]}


def _sentence(folder: RunFolder, recipe: Recipe, found: Iterable[Difference]) -> str | None:
    """The defaults that changed since a run was trained; None where it differs in something else that was meant."""
    then, now = flat.read(folder.recipe), flat.flat(recipe.mapping())
    keys = [each.what for each in found if each.what in now]
    code = [each.said for each in found if each.what not in (*now, "dataset")]
    parts = {key.rpartition(".")[0] for key in keys if key.endswith(".name")}
    keys = [key for key in keys if key.endswith(".name") or key.rpartition(".")[0] not in parts]
    other_data = "dataset" in {each.what for each in found} and not any(key.startswith("dataset.") for key in keys)
    if not keys or other_data:
        return None
    told = [_default(key, then, now, folder.label) for key in keys[:MOST]]
    told += [f"{len(keys) - MOST} more defaults changed"] if len(keys) > MOST else []
    return f"{'; '.join([*told, *code])}: this is another run."


def _default(key: str, then: Mapping[str, Any], now: Mapping[str, Any], label: str) -> str:
    if key not in then:
        return f"{key} is new since {label} was trained, and {shown(now[key])} by default"
    return f"{key}: the default was {shown(then[key])} when {label} was trained, and is {shown(now[key])} now"
