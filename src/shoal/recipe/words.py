"""Values and types as a person reads them: for messages, and for the rows of `shoal schema`."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from itertools import islice
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

MOST = 6
"""Items of a list or mapping that are shown."""
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 80
SHORT.maxdict = SHORT.maxlist = SHORT.maxtuple = MOST
WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
    None: "null",
}


def shown(value: object) -> str:
    """Return a value as it is written in a recipe, cut where it is long or deep.

    >>> shown([1, {"a": [[[[[[[1]]]]]]]}])
    "[1, {'a': [[[[[...]]]]]}]"
    >>> shown({"epochs": 1, "steps": True})
    '{epochs: 1, steps: true}'
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        known = cast(Mapping[Any, Any], value)
        inner = [f"{_bare(key)}: {_inside(item)}" for key, item in islice(known.items(), MOST)]
        return f"{{{', '.join(inner)}{', ...' if len(known) > MOST else ''}}}"
    try:
        return SHORT.repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a very large whole number"


def _bare(key: object) -> str:
    """A key without quotes, cut where it is long."""
    return SHORT.repr(key)[1:-1] if isinstance(key, str) else shown(key)


def _inside(item: object) -> str:
    return SHORT.repr(item) if isinstance(item, Mapping | list) else shown(item)


def in_words(annotation: Any) -> str:
    """Return the type of a field in plain words.

    >>> in_words(float | None), in_words(Literal["none", "batch"]), in_words(tuple[int, ...])
    ('number or null', 'one of: none, batch', 'list of whole numbers')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return in_words(arguments[0])
    if origin is Literal:
        names = [str(item) for item in arguments]
        return names[0] if len(names) == 1 else f"one of: {', '.join(names)}"
    if origin in (Union, UnionType):
        *most, last = [in_words(item) for item in arguments]
        return f"{', '.join(most)} or {last}"
    if origin in (tuple, list) and len({item for item in arguments if item is not ...}) == 1:
        inner = in_words(arguments[0])
        return f"list of {inner}s" if inner in ("whole number", "number") else f"list of {inner}"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
