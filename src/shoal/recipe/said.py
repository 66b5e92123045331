"""What a recipe says beside the defaults: recorded with a run, so that a page can show it without the schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from shoal.recipe.fields import Part
from shoal.recipe.schema import Recipe

TRAINED = ("dataset", "model", "task", "optimizer")
"""The parts that say what was trained: their names are told always."""


def differences(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the keys whose values are not the defaults, `{"key", "value", "default"}`, in the order of the schema.

    The names of dataset, model, task and optimizer are always there. Below a part whose name is not the default, the
    defaults are those of its own entry; a key without a default has none.

    >>> differences(Recipe(seed=3))[0]
    {'key': 'seed', 'value': 3, 'default': 0}
    """
    return [to_jsonable_python(row) for row in _rows(recipe, Recipe(), "")]


def _rows(settings: BaseModel, default: BaseModel | None, prefix: str) -> Iterator[dict[str, Any]]:
    for name, field in type(settings).model_fields.items():
        path, value = f"{prefix}{name}", getattr(settings, name)
        if isinstance(value, Part):
            usual = getattr(default, name, None)
            yield from _part(value, usual, path)
        elif isinstance(value, BaseModel):
            yield from _rows(value, getattr(default, name, None), f"{path}.")
        else:
            usual = getattr(default, name) if default is not None else _default(field)
            if value != usual:
                yield {"key": path, "value": value, "default": usual}


def _part(part: Part, usual: Part | None, path: str) -> Iterator[dict[str, Any]]:
    """A part: its name where it is another one, or one of the four that say what was trained; then its keys."""
    other = usual is None or usual.name != part.name
    if other or path in TRAINED:
        yield {"key": f"{path}.name", "value": part.name, "default": usual.name if usual is not None else None}
    for name, field in type(part).model_fields.items():
        value, default = getattr(part, name), _default(field)
        if name != "name" and value != default:
            yield {"key": f"{path}.{name}", "value": value, "default": default}


def _default(field: Any) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)
