"""What a recipe may say, as plain rows: every key with its type, default, bounds, unit and marks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shoal.recipe.fields import NEVER, Settings, marks
from shoal.recipe.parse import PARTS
from shoal.recipe.schema import Recipe
from shoal.recipe.tables import TABLES

SIGNS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}


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
            yield {"key": f"{path}.name", "type": "name", "default": field.default.name, **_marked(field)}
        elif isinstance(field.default, Settings):
            yield from _rows(type(field.default), path)
        else:
            yield {"key": path, "type": _type(field), "default": _default(field), **_bounds(field), **_marked(field)}


def _marked(field: FieldInfo) -> dict[str, Any]:
    known = marks(field)
    return {
        "unit": known.unit,
        "identity": known.identity is not NEVER,
        "stackable": known.stackable,
        "meaning": known.meaning,
    }


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.default


def _bounds(field: FieldInfo) -> dict[str, Any]:
    found = {}
    for item in field.metadata:
        if type(item) in SIGNS:
            word = SIGNS[type(item)][0]
            found[word] = getattr(item, word)
    return {"bounds": found}


def _type(field: FieldInfo) -> str:
    text = str(field.annotation)
    if isinstance(field.annotation, type):
        text = field.annotation.__name__
    for long, short in (
        ("typing.Annotated[int, BeforeValidator(func=<function _integer>)]", "int"),
        ("typing.", ""),
        ("Literal", "one of "),
        ("NoneType", "null"),
        ("None", "null"),
    ):
        text = text.replace(long, short)
    return _simplify(text)


def _simplify(text: str) -> str:
    """Drop the validators that `Annotated` carries: 'Annotated[float, ...]' reads 'float'."""
    while "Annotated[" in text:
        start = text.index("Annotated[")
        depth, end = 0, start
        for end in range(start + 9, len(text)):
            depth += {"[": 1, "]": -1, "(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                break
        inside = text[start + 10 : end]
        text = text[:start] + inside.split(",")[0] + text[end + 1 :]
    return text
