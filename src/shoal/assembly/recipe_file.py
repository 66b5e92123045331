"""A run's recipe.yaml, and what becomes of one that was changed: a changed recipe is another run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.assembly.screen import Screen
from shoal.errors import RecipeError
from shoal.files import set_beside, write_atomic
from shoal.recipe import yaml_text
from shoal.recipe.changed import changes
from shoal.store import RunFolder, record


def write_recipe(
    folder: RunFolder, recipe: Mapping[str, Any], screen: Screen, *, before: Mapping[str, Any] | None
) -> None:
    """Write the recipe of a run; a file that is not what it was `before` is kept beside it, and said."""
    if before is not None and (said := _change(folder, before)):
        kept = f", and yours is kept as {set_beside(folder.recipe).name}" if folder.recipe.is_file() else ""
        screen.say(
            f"recipe.yaml was changed since this run was made: {said}. A changed recipe is another run, which 'shoal "
            f"train' makes of a preset and KEY=VALUE. The recorded one was put back{kept}."
        )
    write_atomic(folder.recipe, yaml_text.dump(recipe))


def put_back(folder: RunFolder, screen: Screen) -> None:
    """Write the recipe of a finished run again, as its record has it, where it was changed or removed."""
    recorded = record.recipe(record.read(folder))
    if recorded is None or not _change(folder, recorded):
        return
    try:
        write_recipe(folder, recorded, screen, before=recorded)
    except OSError as error:
        screen.say(f"recipe.yaml is not what it was, and could not be put back: {error.strerror}.")


def _change(folder: RunFolder, recorded: Mapping[str, Any]) -> str:
    """What is not as it was, "" where all is."""
    if not folder.recipe.is_file():
        return "it was removed"
    try:
        return changes(folder.recipe, recorded)
    except RecipeError as error:
        return str(error).rstrip(".")
