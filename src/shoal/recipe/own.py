"""Entries of the user's own: the class of parameters of a factory, read from its annotations.

The builder is kept in the room of its kind (`models.table` and so on); here is only what a recipe can say about it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from shoal.errors import RecipeError
from shoal.files import safe_name
from shoal.recipe.fields import ALWAYS, Flag, Float, Int, Part, Text, marks, setting
from shoal.recipe.optimizer_parts import OptimizerPart
from shoal.recipe.parts import ByExample
from shoal.recipe.tables import TABLES
from shoal.recipe.words import in_words, shown

BASES: dict[str, type[Part]] = {"dataset": ByExample, "model": Part, "task": Part, "optimizer": OptimizerPart}
STRICT: dict[Any, Any] = {int: Int, float: Float, bool: Flag, str: Text}


def declare(kind: str, name: str, factory: Callable[..., Any], *, supplied: Collection[str]) -> type[Part]:
    """Add a user's factory (a function or a class) to the table of its kind; its parameters become keys of the recipe.

    `supplied` are the parameters that Shoal fills in (`input_shape`, `outputs`, `params`). Raises RecipeError for a
    name that is taken, and for a parameter that cannot be a key: without an annotation, or of a type that plain data
    cannot hold.
    """
    if not (inspect.isroutine(factory) or inspect.isclass(factory)):
        raise RecipeError(f"the {kind} '{name}': expected a function or a class, got {type(factory).__name__}.")
    table = TABLES[kind]
    safe_name(name, f"name of a {kind}")
    if name in table and not _redefinition(table[name], factory):
        taken = table[name].__module__
        raise RecipeError(f"the {kind} '{name}' is registered twice (first in {taken}): give one of them another name.")
    where = f"the {kind} '{name}' ({factory.__module__}.{factory.__qualname__})"
    fields = _fields(kind, where, factory, supplied)
    cls: Any = create_model(
        f"{kind.title()}_{name}", __base__=BASES[kind], __module__=factory.__module__, name=(Text, name), **fields
    )
    cls.__doc__ = inspect.getdoc(factory) or f"{factory.__module__}.{factory.__qualname__}"
    table[name] = cls
    return cls


def _redefinition(known: type[Part], factory: Callable[..., Any]) -> bool:
    """A notebook cell run again defines its entries again."""
    return known.__module__ == factory.__module__ == "__main__"


def _fields(kind: str, where: str, factory: Callable[..., Any], supplied: Collection[str]) -> dict[str, Any]:
    hints = _hints(where, factory)
    shared = {key: field for key, field in BASES[kind].model_fields.items() if key != "name"}
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(factory).parameters.items():
        if key in supplied or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise RecipeError(f"{where}: its parameter '{key}' is given by position only: expected one given by name.")
        default = ... if parameter.default is parameter.empty else parameter.default
        if key in shared:
            fields[key] = _shared(shared[key], default)
        elif key in hints and key != "name":
            meaning = f"parameter of {factory.__qualname__}"
            fields[key] = (_strict(hints[key]), setting(default, meaning, identity=ALWAYS))
        else:
            raise RecipeError(
                f"{where}: its parameter '{key}' needs an annotation (such as {key}: int = 1) and a name other than "
                f"'name' to become the key {kind}.{key}. Shoal itself fills in: {', '.join(supplied) or 'nothing'}."
            )
        _check(where, key, fields[key][0], default)
    return fields


def _hints(where: str, factory: Callable[..., Any]) -> dict[str, Any]:
    initialiser: Any = getattr(factory, "__init__", factory)
    try:
        return get_type_hints(initialiser if inspect.isclass(factory) else factory, include_extras=True)
    except (NameError, TypeError) as error:
        raise RecipeError(f"{where}: an annotation cannot be resolved: {error}.") from error


def _shared(field: FieldInfo, default: Any) -> tuple[Any, Any]:
    """A key that every entry of the kind has (`path`, `lr`): its marks and bounds stay, its default is the user's."""
    known = marks(field)
    if default is ... and field.default is not None:
        default = field.default
    kept = setting(default, known.meaning, identity=known.identity, unit=known.unit, stackable=known.stackable)
    return field.rebuild_annotation(), kept


def _check(where: str, key: str, annotation: Any, default: Any) -> None:
    """Refuse at once what could only fail later: a type that plain data cannot hold, a default of another type."""
    allowed = "expected int, float, bool, str, Literal[...], None, or tuple[..., ...] of these"
    if not _plain(annotation):
        raise RecipeError(f"{where}: its parameter '{key}' is of type {in_words(annotation)}: {allowed}.")
    try:
        if default is not ...:
            TypeAdapter(annotation).validate_python(default)
    except ValidationError as error:
        raise RecipeError(
            f"{where}: the default of its parameter '{key}' is {shown(default)}: expected {in_words(annotation)}."
        ) from error
    except PydanticUserError as error:
        raise RecipeError(f"{where}: its parameter '{key}' cannot be a key of a recipe: {allowed}.") from error


def _plain(annotation: Any) -> bool:
    """Whether values of the type can be written to YAML and read back as they were."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain(arguments[0])
    if origin is Literal:
        return all(isinstance(item, str | int | None) for item in arguments)
    if origin in (tuple, Union, UnionType):
        return all(item is ... or _plain(item) for item in arguments)
    return annotation in (int, float, bool, str, type(None))


def _strict(hint: Any) -> Any:
    """The same type, with booleans refused as numbers and texts refused as both; lists are kept as tuples."""
    if hint in STRICT:
        return STRICT[hint]
    origin, arguments = get_origin(hint), tuple(item if item is ... else _strict(item) for item in get_args(hint))
    if origin is tuple:
        return tuple[arguments]  # pyright: ignore[reportInvalidTypeArguments]
    if origin in (Union, UnionType):
        return Union[arguments]  # noqa: UP007
    return hint
