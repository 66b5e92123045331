"""Why a training that was asked for in the same words as an old one is a new run: a default has changed since.

What a run's recipe says beside the defaults is in its record, and all its values are in its recipe: the same words and
other values are other defaults. So it is with the same command, where a preset was edited. The old run keeps the values
that it was trained with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from shoal.assembly.explain import Known, words
from shoal.assembly.meaning import Difference, differences
from shoal.errors import ShoalError
from shoal.recipe import Recipe, flat
from shoal.recipe.said import differences as said_in
from shoal.recipe.words import shown
from shoal.store import RunFolder

TRAIN = ("shoal train", "python -m shoal train")
"""How a command that trains one run begins, as it is recorded."""
DEFAULT = "{key}: the default was {then} when {label} was trained, and is {now} now"
COMMAND = "{key}: the same command meant {then} when {label} was trained, and means {now} now"
MOST = 3
"""Keys that a sentence names."""


def defaults_since(runs: Known, recipe: Recipe, identity: Mapping[str, Any], *, command: str = "") -> str | None:
    """Return a sentence on the newest run that said the same, under other defaults, with the same seed.

    `identity` is what the new run's signature is made of, `command` the words on the command line: a `shoal train` that
    means something else now has another preset.
    """
    same = runs.that_said(words(said_in(recipe)), recipe.seed)
    asked = runs.asked_for_by(command, recipe.seed) if command.startswith(TRAIN) else ()  # a script asks for many
    found: list[tuple[str, str]] = []
    for told, run in [*((DEFAULT, run) for run in same), *((COMMAND, run) for run in asked if run not in same)]:
        with suppress(ShoalError):
            if sentence := _sentence(run.folder, recipe, differences(run.identity, identity), told):
                found.append((run.started, sentence))
    return max(found)[1] if found else None


def _sentence(folder: RunFolder, recipe: Recipe, found: Iterable[Difference], told: str) -> str | None:
    """The defaults that changed since a run was trained; None where it differs in something else that was meant."""
    then, now = flat.read(folder.recipe), flat.flat(recipe.mapping())
    keys = [each.what for each in found if each.what in now]
    code = [each.said for each in found if each.what not in (*now, "dataset")]
    parts = {key.rpartition(".")[0] for key in keys if key.endswith(".name")}
    keys = [key for key in keys if key.endswith(".name") or key.rpartition(".")[0] not in parts]
    other_data = "dataset" in {each.what for each in found} and not any(key.startswith("dataset.") for key in keys)
    if not keys or other_data:
        return None
    said = [
        told.format(key=key, then=shown(then[key]), label=folder.label, now=shown(now[key]))
        if key in then
        else f"{key} is new since {folder.label} was trained, and {shown(now[key])} by default"
        for key in keys[:MOST]
    ]
    said += [f"{len(keys) - MOST} more defaults changed"] if len(keys) > MOST else []
    return f"{'; '.join([*said, *code])}: this is another run."
