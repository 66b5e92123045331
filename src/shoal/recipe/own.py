"""Entries of the user's own: the class of parameters of a factory, read from its annotations.

The builder is kept in the room of its kind (`models.table` and so on); here is only what a recipe can say about it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import create_model

from shoal.errors import RecipeError
from shoal.recipe.fields import ALWAYS, Flag, Float, Int, Part, Text, setting
from shoal.recipe.parts import DatasetPart, OptimizerPart
from shoal.recipe.tables import TABLES

BASES: dict[str, type[Part]] = {"dataset": DatasetPart, "model": Part, "task": Part, "optimizer": OptimizerPart}
STRICT: dict[Any, Any] = {int: Int, float: Float, bool: Flag, str: Text}


def declare(kind: str, name: str, factory: Callable[..., Any], *, supplied: Collection[str]) -> type[Part]:
    """Add a user's factory to the table of its kind; its annotated parameters become keys of the recipe.

    `supplied` are the parameters that Shoal fills in (`input_shape`, `outputs`, `params`). Raises RecipeError for a
    name that is taken, and for a parameter without an annotation or default.
    """
    table = TABLES[kind]
    if name in table and not _redefinition(table[name], factory):
        taken = table[name].__module__
        raise RecipeError(f"the {kind} '{name}' is registered twice (first in {taken}): give one of them another name.")
    fields = {key: value for key, value in _fields(kind, name, factory, supplied).items()}
    cls: Any = create_model(
        f"{kind.title()}_{name}", __base__=BASES[kind], __module__=factory.__module__, name=(Text, name), **fields
    )
    cls.__doc__ = inspect.getdoc(factory) or f"{factory.__module__}.{factory.__qualname__}"
    table[name] = cls
    return cls


def _redefinition(known: type[Part], factory: Callable[..., Any]) -> bool:
    """A notebook cell run again defines its entries again."""
    return known.__module__ == factory.__module__ == "__main__"


def _fields(kind: str, name: str, factory: Callable[..., Any], supplied: Collection[str]) -> dict[str, Any]:
    where = f"the {kind} '{name}' ({factory.__module__}.{factory.__qualname__})"
    target = factory.__init__ if inspect.isclass(factory) else factory  # pyright: ignore[reportGeneralTypeIssues]
    try:
        hints = get_type_hints(target, include_extras=True)
    except NameError as error:
        raise RecipeError(f"{where}: an annotation cannot be resolved: {error}.") from error
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.name in supplied or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in BASES[kind].model_fields and parameter.name != "name":
            if parameter.default is parameter.empty:
                continue
        elif parameter.name not in hints or parameter.name == "name":
            raise RecipeError(
                f"{where}: its parameter '{parameter.name}' needs an annotation (such as {parameter.name}: int = 1) "
                f"to become the key {kind}.{parameter.name}. Shoal itself fills in: {', '.join(supplied)}."
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        meaning = f"parameter of {factory.__qualname__}"
        hint = hints.get(parameter.name, BASES[kind].model_fields.get(parameter.name))
        fields[parameter.name] = (_strict(hint), setting(default, meaning, identity=ALWAYS))
    return fields


def _strict(hint: Any) -> Any:
    """The same type, with booleans refused as numbers and texts refused as both."""
    if hint in STRICT:
        return STRICT[hint]
    arguments = get_args(hint)
    origin = get_origin(hint)
    if arguments and origin is tuple:
        return tuple[tuple(item if item is ... else _strict(item) for item in arguments)]  # pyright: ignore
    return hint
