"""Whether a run's recipe.yaml still says what the run's record has: compared as plain keys, a user's entries too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from shoal.recipe import yaml_text
from shoal.recipe.flat import flat
from shoal.recipe.words import shown

MOST = 4
"""Keys that a sentence names."""
NOTHING = object()


def changes(path: Path, recorded: Mapping[str, Any] | None) -> str:
    """Return which keys of a recipe file have other values than the recorded ones, "" where none has.

    `optimizer.lr = 0.2 (0.1 when it was trained)`. Comments and layout are no change. Raises RecipeError for a file
    that cannot be read, or is no YAML. With nothing recorded to compare with, that is all that is looked at.
    """
    loaded = yaml_text.load(yaml_text.read(path), str(path))
    if not isinstance(loaded, Mapping):
        return f"it is no mapping of keys, but {shown(loaded)}"
    if recorded is None:
        return ""
    now, then = flat(cast(Mapping[str, Any], loaded)), flat(recorded)
    keys = [key for key in {**then, **now} if not _same(now.get(key, NOTHING), then.get(key, NOTHING))]
    told = [_change(key, now.get(key, NOTHING), then.get(key, NOTHING)) for key in keys[:MOST]]
    return ", ".join(told) + (f", and {len(keys) - MOST} more" if len(keys) > MOST else "")


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _change(key: str, now: object, then: object) -> str:
    if now is NOTHING:
        return f"{key} is left out ({shown(then)} when it was trained)"
    if then is NOTHING:
        return f"{shown(key)[1:-1]} = {shown(now)} (not there when it was trained)"
    return f"{key} = {shown(now)} ({shown(then)} when it was trained)"
