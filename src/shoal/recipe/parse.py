"""From a plain mapping to a Recipe, with every problem named at once.

Each message has the key path, the value, what was expected, and the nearest valid key or name. Nothing is coerced
that a person could have meant otherwise: booleans are no numbers, texts are no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from shoal.errors import InputError, RecipeError, nearest
from shoal.files import safe_name
from shoal.recipe import yaml_text
from shoal.recipe.fields import Part, Settings, marks
from shoal.recipe.schema import Recipe, Schedules
from shoal.recipe.tables import TABLES, lookup
from shoal.recipe.words import in_words, shown

T = TypeVar("T", bound=BaseModel)

PARTS: dict[str, str] = {
    "dataset": "dataset",
    "model": "model",
    "task": "task",
    "optimizer": "optimizer",
    "schedules.lr": "schedule",
    "schedules.momentum": "schedule",
    "schedules.weight_decay": "schedule",
    "average": "average",
}
"""Key path of each named part, and the table in which its name is resolved."""


PASSED = {"map_style": "of Datasets passed from Python", "stream": "of streams passed from Python"}
"""What entries are called that nobody chooses by name."""


def parse(data: Mapping[str, Any]) -> Recipe:
    """Validate a mapping into a frozen Recipe; raises RecipeError with one line for each problem, under a head."""
    problems: list[str] = []
    resolved = _resolve_parts(dict(data), problems)
    recipe = _validate(Recipe, resolved, "", problems)
    if problems:
        listed = [f"{len(problems)} things are wrong:", *(f"- {problem}" for problem in problems)]
        raise RecipeError("\n".join(listed if len(problems) > 1 else problems))
    assert recipe is not None
    try:
        safe_name(recipe.name)
    except InputError as error:
        raise RecipeError(str(error)) from error
    return recipe


def from_yaml(text: str | bytes, where: str = "recipe") -> Recipe:
    """Read a recipe back from `Recipe.to_yaml`, or from a file written by hand; `where` names it in messages."""
    data = yaml_text.load(text, where)
    if not isinstance(data, dict):
        raise RecipeError(f"{where}: expected a mapping of recipe keys, found {type(data).__name__}.")
    return parse(cast(dict[str, Any], data))


def _resolve_parts(data: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Replace the mapping of each named part by an instance of its class of parameters."""
    schedules = data.get("schedules")
    if isinstance(schedules, Mapping):
        data["schedules"] = dict(cast(Mapping[str, Any], schedules))
    for path, kind in PARTS.items():
        holder, key = data, path
        if "." in path:
            holder, key = data.get("schedules"), path.split(".")[1]
        if not isinstance(holder, dict) or key not in holder:
            continue
        holder[key] = _part(path, kind, holder[key], problems)
    return data


def _part(path: str, kind: str, value: Any, problems: list[str]) -> Any:
    if isinstance(value, Part) and TABLES[kind].get(value.name) is type(value):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        names = ", ".join(sorted(TABLES[kind]))
        problems.append(f"{path} = {shown(value)}: expected one of: {names}; or a mapping with a name and its keys.")
        return default_part(path)
    given = dict(cast(Mapping[str, Any], value))
    name = given.get("name", default_part(path).name)
    try:
        cls = lookup(kind, name)
    except RecipeError as error:
        problems.append(f"{path}.name: {error}")
        return default_part(path)
    return _validate(cls, {**given, "name": name}, path, problems) or default_part(path)


def default_part(path: str) -> Part:
    """Return what a part is where a recipe says nothing of it."""
    if path.startswith("schedules."):
        return Schedules.model_fields[path.split(".")[1]].default
    return Recipe.model_fields[path].default


def _validate(cls: type[T], data: Mapping[str, Any], prefix: str, problems: list[str]) -> T | None:
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        sentences = [_sentence(cls, data, prefix, cast(Mapping[str, Any], item)) for item in error.errors()]
        problems.extend(dict.fromkeys(sentences))  # a union has one error for each of its members
        return None


def _sentence(cls: type[BaseModel], data: Mapping[str, Any], prefix: str, detail: Mapping[str, Any]) -> str:
    """Return pydantic's error as one sentence that has the key, the value and what was expected."""
    location: Sequence[Any] = detail["loc"]
    owner, name, depth = _field_at(cls, location)
    path = ".".join([*([prefix] if prefix else []), *(str(item) for item in location[:depth])])
    if detail["type"] == "extra_forbidden":
        return _unknown_key(owner, prefix, [str(item) for item in location])
    if name is None:
        return f"{path or 'recipe'}: {_expectation(detail)}."
    field, value = owner.model_fields[name], _given(data, location[:depth])
    known = marks(field)
    unit = f" ({known.unit})" if known.unit else ""
    if detail["type"] == "missing":
        return f"{path} is missing, and it has no default: {known.meaning}{unit}."
    if isinstance(field.default, Settings) and detail["type"] != "value_error":
        first = next(iter(type(field.default).model_fields))
        return f"{path} = {shown(value)}: expected keys below it, such as {path}.{first}=...: {known.meaning}."
    if depth == len(location) and detail["type"] != "literal_error":
        return f"{path} = {shown(value)}: {_expectation(detail)}: {known.meaning}{unit}."
    return f"{path} = {shown(value)}: expected {in_words(field.annotation)}: {known.meaning}{unit}."


def _given(data: Any, location: Sequence[Any]) -> object:
    """The value as it was written, before any conversion; None where it is missing."""
    for item in location:
        data = cast(Mapping[str, Any], data).get(item) if isinstance(data, Mapping) else getattr(data, item)
    return cast(object, data)


def _field_at(cls: type[BaseModel], location: Sequence[Any]) -> tuple[type[BaseModel], str | None, int]:
    """Follow a location down to the class and field it ends in; the rest of it is inside the value."""
    owner, field, depth = cls, None, 0
    for index, item in enumerate(location):
        if item not in owner.model_fields:
            break
        field, depth = str(item), index + 1
        inner = owner.model_fields[field].default
        if index + 1 < len(location) and isinstance(inner, Settings):
            owner, field = type(inner), None
    return owner, field, depth


def _unknown_key(owner: type[BaseModel], prefix: str, location: Sequence[str]) -> str:
    *above, key = location
    place = ".".join([*([prefix] if prefix else []), *above])
    dotted = f"{place}." if place else ""
    fields = list(owner.model_fields)
    close = nearest(key, fields)
    if key == "_target_":
        hint = "a recipe names no code to import; register your own with --module MODULE. "
    elif prefix in PARTS and (others := _entries_with(PARTS[prefix], key)):
        here = owner.model_fields["name"].default
        hint = f"{key} is a key of {', '.join(others)}, not of {here}. Leave it out, or choose one that has it. "
    elif close:
        hint = f"did you mean {dotted}{close}? "
    else:
        elsewhere = _elsewhere(key)
        hint = f"did you mean {elsewhere}? " if elsewhere else ""
    return f"unknown key {dotted}{shown(key)[1:-1]}: {hint}Keys of {place or 'a recipe'}: {', '.join(fields)}."


def _entries_with(kind: str, key: str) -> list[str]:
    """The entries of a table that have the key: `momentum` is one of sgd's."""
    having = [name for name, cls in sorted(TABLES[kind].items()) if key in cls.model_fields]
    return [name for name in having if name not in PASSED] + [PASSED[name] for name in having if name in PASSED]


def _elsewhere(key: str) -> str | None:
    """A key that is known one level down: `lr` for `optimizer.lr`; those of schedules and averages come last."""
    parts = {path: kind for path, kind in PARTS.items() if kind not in ("schedule", "average")}
    found = _in_parts(key, parts)
    for name, field in Recipe.model_fields.items():
        if isinstance(field.default, Settings) and key in type(field.default).model_fields:
            found = found or f"{name}.{key}"
    return found or _in_parts(key, PARTS)


def _in_parts(key: str, parts: Mapping[str, str]) -> str | None:
    for path, kind in parts.items():
        for cls in TABLES[kind].values():
            if key != "name" and key in cls.model_fields:
                return f"{path}.{key}"
    return None


def _expectation(detail: Mapping[str, Any]) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than":
            return f"expected a number greater than {context['gt']:g}"
        case "greater_than_equal":
            return f"expected a number of at least {context['ge']:g}"
        case "less_than":
            return f"expected a number less than {context['lt']:g}"
        case "less_than_equal":
            return f"expected a number of at most {context['le']:g}"
        case "bool_type":
            return "expected true or false"
        case "tuple_type":
            return "expected a list, such as [a,b]"
        case "string_type":
            return "expected text (quote it if it looks like a number: \"'007'\")"
        case "value_error":
            return str(context["error"])
        case "invalid_key":
            return "expected keys that are text"
        case _:
            return str(detail["msg"])
