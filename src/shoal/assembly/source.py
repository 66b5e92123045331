"""The identity of a user's code: its qualified name, the arguments bound to it, the digest of its source.

Source is what `inspect` finds. Code that was typed into a pipe has none; its compiled form stands in for it, which
is the same for the same Python only.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Any, cast

from torch import nn

from shoal.errors import RecipeError

SHIPPED = ("torch", "shoal", "builtins")


def qualified_name(thing: Any, what: str) -> str:
    """Return the name that stands for a function or class in identity.

    Raises RecipeError for what has none: a lambda, and a closure, whose captured values its source does not show.
    """
    if isinstance(thing, functools.partial):
        bound = cast("functools.partial[Any]", thing)
        return f"{qualified_name(bound.func, what)}({_arguments(bound, what)})"
    name = getattr(thing, "__qualname__", None)
    if not callable(thing) or name is None or (what == "loss" and inspect.isclass(thing)):
        raise RecipeError(_no_factory(thing, what))
    if "<lambda>" in name or getattr(thing, "__closure__", None):
        kind = "a lambda" if "<lambda>" in name else "a closure"
        named = "" if what == "loss" else f", or name it: {what}=shoal.{what}('my-{what}')(...)"
        raise RecipeError(
            f"{what}: {kind} has no name to be identified by, and a run needs an identity. Define it at the top of a "
            f"module with def, or use functools.partial{named}."
        )
    return f"{thing.__module__}.{name}"


def _no_factory(thing: Any, what: str) -> str:
    """The sentence for what was passed in the place of a class or function."""
    found = thing.__name__ if inspect.isclass(thing) else type(thing).__name__
    if what == "loss":
        shown = repr(thing) if isinstance(thing, str) else found
        return (
            f"loss: expected a function of (outputs, targets), found {shown}. Write one, such as def loss(outputs, "
            "targets): return F.cross_entropy(outputs, targets, reduction='none'), or bind settings with "
            "functools.partial(F.cross_entropy, reduction='none', label_smoothing=0.1)."
        )
    if isinstance(thing, nn.Module):
        return (
            f"{what}: expected a class or a function, found an instance of {found}. Pass what builds it "
            f"({what}={found}), not what was built: initial weights are a function of the seed. Bind its arguments "
            f"with functools.partial({found}, ...)."
        )
    return f"{what}: expected a class, a function or the name of a {what}, found {thing!r}."


def _arguments(bound: functools.partial[Any], what: str) -> str:
    try:
        return json.dumps([bound.args, bound.keywords], sort_keys=True)
    except TypeError as error:
        raise RecipeError(
            f"{what}: functools.partial with arguments that are no plain values ({error}). They are part of the run's "
            "identity: bind numbers, texts, lists or mappings of them."
        ) from error


def digest(things: Iterable[Any]) -> str:
    """Return the digest of the source of functions and classes, whatever their order."""
    texts = sorted({f"{_owner(thing)}\n{_text(thing)}" for thing in things})
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def classes_of(model: nn.Module) -> list[type]:
    """Return the classes of a model's parts that are neither torch's nor ours."""
    return list({type(m): None for m in model.modules() if type(m).__module__.split(".")[0] not in SHIPPED})


def _owner(thing: Any) -> str:
    if isinstance(thing, functools.partial):
        return qualified_name(cast("functools.partial[Any]", thing), "functools.partial")
    inner = _unwrapped(thing)
    return f"{inner.__module__}.{inner.__qualname__}"


def _unwrapped(thing: Any) -> Any:
    while isinstance(thing, functools.partial):
        thing = cast("functools.partial[Any]", thing).func
    return inspect.unwrap(thing)


def _text(thing: Any) -> str:
    inner = _unwrapped(thing)
    try:
        lines = textwrap.dedent(inspect.getsource(inner)).splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())
    except (OSError, TypeError):
        return _compiled(inner)


def _compiled(thing: Any) -> str:
    """The bytecode and constants of a function, or of a class's functions, as text."""
    if inspect.isclass(thing):
        members = cast("dict[str, Any]", vars(thing))
        functions = {name: value for name, value in members.items() if callable(value) and hasattr(value, "__code__")}
        return "\n".join(f"{name}: {_compiled(value)}" for name, value in sorted(functions.items()))
    code = getattr(cast("Callable[..., Any]", thing), "__code__", None)
    return _code(code) if isinstance(code, CodeType) else repr(cast(object, type(thing)))


def _code(code: CodeType) -> str:
    constants = [_code(item) if isinstance(item, CodeType) else repr(item) for item in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names} {code.co_varnames}"
