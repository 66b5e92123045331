"""What a recipe may say, as plain rows: every key with its type, default, bounds, unit and marks.

A row is plain data that JSON can hold. `entry` is there where a key belongs to one entry of a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from shoal.recipe.fields import NEVER, Settings, marks
from shoal.recipe.parse import PARTS
from shoal.recipe.schema import Recipe
from shoal.recipe.tables import TABLES
from shoal.recipe.words import in_words

BOUNDS = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}


def keys() -> list[dict[str, Any]]:
    """Return one row a key: those at the top and in sections, then those of every entry of every table."""
    rows = list(_rows(Recipe, ""))
    for path, kind in PARTS.items():
        if path.startswith("schedules.") and path != "schedules.lr":
            continue
        for name, cls in sorted(TABLES[kind].items()):
            rows.extend({**row, "entry": name} for row in _rows(cls, path))
    return rows


def entries() -> dict[str, list[str]]:
    """Return the names in every table."""
    return {kind: sorted(table) for kind, table in TABLES.items()}


def _rows(cls: type[BaseModel], prefix: str) -> Iterator[dict[str, Any]]:
    for name, field in cls.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        if prefix in PARTS and name == "name":
            continue
        if path in PARTS:
            names = ", ".join(sorted(TABLES[PARTS[path]]))
            yield _row(f"{path}.name", field, words=f"one of: {names}", default=field.default.name)
        elif isinstance(field.default, Settings):
            yield from _rows(type(field.default), path)
        else:
            yield _row(path, field, words=in_words(field.annotation), default=field.default)


def _row(key: str, field: FieldInfo, *, words: str, default: Any) -> dict[str, Any]:
    known, required = marks(field), field.is_required()
    return {
        "key": key,
        "type": words,
        "required": required,
        "default": None if required else to_jsonable_python(default),
        "bounds": _bounds(field),
        "unit": known.unit,
        "identity": known.identity is not NEVER,
        "stackable": known.stackable,
        "meaning": known.meaning,
    }


def _bounds(field: FieldInfo) -> dict[str, Any]:
    words = [(BOUNDS[type(item)], item) for item in field.metadata if type(item) in BOUNDS]
    return {word: getattr(item, word) for word, item in words}
