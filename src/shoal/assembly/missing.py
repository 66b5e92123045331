"""What a run was given from Python, which its folder does not hold: it has to be passed again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from shoal.assembly.objects import Objects
from shoal.errors import StoreError
from shoal.recipe import Recipe
from shoal.store import RunFolder

HELD_BY_PYTHON = ("arrays", "map_style", "stream", "text")
"""Datasets that may have come from Python; where they lie in files the record has their path."""


def refuse_missing(
    folder: RunFolder,
    recipe: Recipe,
    objects: Objects,
    facts: Mapping[str, Any],
    *,
    then: str,
    needed: Collection[str] = ("model", "dataset", "loss"),
) -> None:
    """Raise StoreError where a run had objects from Python that are not passed again; `then` is what one would call."""
    identity: Mapping[str, Any] = facts.get("identity") or {}
    data: Mapping[str, Any] = facts.get("data") or {}
    had = {
        "model": recipe.model.name == "external",
        "dataset": recipe.dataset.name in HELD_BY_PYTHON and not data.get("path"),
        "loss": "loss" in (identity.get("digests") or {}),
    }
    missing = [what for what in needed if had[what] and getattr(objects, what) is None]
    if missing:
        words = {"model": "model=FACTORY", "dataset": "dataset=DATA", "loss": "loss=FUNCTION"}
        raise StoreError(
            f"{folder.label} was trained with a {' and '.join(missing)} from Python, which its folder does not hold. "
            f"Pass it again: shoal.load({str(folder.path)!r}, {', '.join(words[what] for what in missing)}){then}."
        )
