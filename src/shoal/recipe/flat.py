"""A recipe as one level of dotted keys, `optimizer.lr`: what tables of runs and lists of hyperparameters show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from shoal.recipe import yaml_text
from shoal.recipe.fields import NEVER, Settings, marks
from shoal.recipe.schema import Recipe


def flat(recipe: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the values of a nested recipe under dotted keys, in its order.

    >>> flat({"seed": 0, "budget": {"steps": 40, "epochs": None}})
    {'seed': 0, 'budget.steps': 40, 'budget.epochs': None}
    """
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            found |= flat(cast(Mapping[str, Any], value), f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def read(path: Path) -> dict[str, Any]:
    """Return the keys of a recipe file as it stands, entries of a user's own too; {} where there is no file.

    Raises RecipeError for what is no YAML.
    """
    try:
        loaded = yaml_text.load(path.read_bytes(), str(path))
    except FileNotFoundError:
        return {}
    return flat(cast(Mapping[str, Any], loaded)) if isinstance(loaded, Mapping) else {}


def hyperparameters(recipe: Recipe) -> dict[str, Any]:
    """Return the dotted keys that may change the result, and the seed: logging, devices and paths are left out."""
    full = flat(recipe.mapping())
    return {key: full[key] for key in ("seed", *_identifying(recipe, "")) if key in full}


def _identifying(settings: Settings, above: str) -> Iterator[str]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            if marks(field).identity is not NEVER:
                yield from _identifying(value, f"{above}{name}.")
        elif (above and name == "name") or marks(field).identity is not NEVER:
            yield f"{above}{name}"
