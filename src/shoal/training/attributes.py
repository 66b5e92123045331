"""What a model and a loss keep in Python from step to step, beside parameters and buffers: counters, lists, generators.

A recording has the values of one step. What moves from one step of a trial to the next is therefore named, to be
refused; what the first step sets up, and leaves so, is not. Tensors are left out: a recording that reads or writes one
is refused for what it does (`recordable`). Looking is bounded: of what is large, some is compared.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, complex, str, bytes, type(None))
DEEP = 5
"""How many containers, objects and functions one within another are looked into."""
MOST_ITEMS = 256
"""Of a longer list or mapping so many are compared from its beginning, and as many from its end."""
MOST_VALUES = 20_000
"""So many values are looked at in all."""
MOST_BYTES = 1 << 20
"""Of a larger array some elements are compared, spread over it."""
TREES = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
"""What torch keeps in a module, and a recording knows of or is built from."""
THEIRS = frozenset([*sys.stdlib_module_names, "torch", "numpy"]) - {"__main__"}
"""Libraries whose objects and functions are not looked into."""

LOSS = "the loss function"
"""The name under which the facts of a loss are."""

Facts = dict[str, object]


def kept(model: nn.Module, loss: Callable[..., Any]) -> Facts:
    """Return by path what a model and a loss keep in Python: values that are equal where nothing has changed."""
    reader, found = _Reader(), Facts()
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    for path, module in list(modules):
        prefix = f"{path}." if path else ""
        reader.seen[id(module)] = module
        for name, value in vars(module).items():
            if name not in TREES:
                found[prefix + name] = reader.fact(value)
        for name, value in _of_class(type(module)).items():
            if prefix + name not in found:
                found[prefix + name] = reader.fact(value)
    found[LOSS] = reader.fact(loss)
    return found


def held(model: nn.Module) -> tuple[Facts, list[Tensor]]:
    """Return by path what a model's own attributes are, tensors by their place and age, and these tensors."""
    reader, found = _Reader(outside=False), Facts()
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    for path, module in list(modules):
        reader.seen[id(module)] = module
        for name, value in vars(module).items():
            if name not in TREES and name != "training":
                found[f"{path}.{name}" if path else name] = reader.fact(value)
    return found, reader.tensors


def moved(snapshots: Sequence[Facts]) -> tuple[str, ...]:
    """Return what differs between the first step, which may set up what is kept, and any after it."""
    first = snapshots[0]
    names = dict.fromkeys(name for facts in snapshots[1:] for name in facts)
    return tuple(name for name in names if any(facts.get(name) != first.get(name) for facts in snapshots[1:]))


class _Reader:
    """Turns values into facts that can be compared; knows what it has seen.

    `outside`: look into functions and classes too, and not at tensors.
    """

    def __init__(self, *, outside: bool = True) -> None:
        self.outside = outside
        self.tensors: list[Tensor] = []
        self.left = MOST_VALUES
        self.seen: dict[int, Any] = {}  # kept alive, so that no other object has its id

    def fact(self, value: Any, depth: int = 0) -> object:
        """Return what tells a value from another, as far as it is looked into."""
        self.left -= 1
        kind = type(value).__name__
        if isinstance(value, (*PLAIN, np.generic, itertools.count)):
            return kind, repr(cast(object, value))  # NaN is like itself
        if (stands := _standing(value)) is not None:
            return kind, stands
        if isinstance(value, np.ndarray):
            return kind, _digest(cast("np.ndarray[Any, Any]", value))
        if isinstance(value, Tensor):
            return kind, None if self.outside else self._tensor(value)
        if depth == DEEP or self.left < 0 or id(value) in self.seen:
            return kind
        if not isinstance(value, type | ModuleType):
            self.seen[id(value)] = value
            return kind, self._inside(value, depth + 1)
        return kind

    def _inside(self, value: Any, depth: int) -> object:
        if isinstance(value, dict):
            pairs = cast("dict[Any, Any]", value)
            return len(pairs), [
                (repr(key) if isinstance(key, PLAIN) else "", self.fact(pairs[key], depth))
                for key in _ends(list(pairs))
            ]
        if isinstance(value, list | tuple | deque):
            items = cast("Sequence[Any]", value)
            return len(items), [self.fact(item, depth) for item in _ends(items)]
        if isinstance(value, set | frozenset):
            items = cast("set[Any]", value)
            return len(items), sorted(repr(item) for item in list(items)[:MOST_ITEMS] if isinstance(item, PLAIN))
        if isinstance(value, functools.partial):
            whole = cast("functools.partial[Any]", value)
            return [self.fact(item, depth) for item in (whole.func, whole.args, whole.keywords)]
        if isinstance(value, FunctionType | MethodType) and not self.outside:
            return id(value)
        if isinstance(value, MethodType):
            return [self.fact(item, depth) for item in (value.__func__, value.__self__)]
        if isinstance(value, FunctionType):
            return None if _is_theirs(value) else self._function(value, depth)
        if isinstance(value, nn.Module):
            own = {name: it for name, it in vars(value).items() if name not in TREES}
            kinds = _of_class(type(value)) if self.outside else None
            return [self.fact(it, depth) for it in (own, kinds, dict(value.named_children()))]
        if _is_theirs(type(value)) or not hasattr(value, "__dict__"):
            return None
        return self.fact(vars(value), depth)

    def _tensor(self, value: Tensor) -> object:
        self.seen[id(value)] = value
        self.tensors.append(value)
        return id(value), None if value.is_inference() else value._version  # pyright: ignore[reportPrivateUsage]

    def _function(self, function: FunctionType, depth: int) -> object:
        """What a function keeps on itself, in its closure, and in the plain values of its module that it names."""
        cells: list[Any] = []
        for cell in function.__closure__ or ():
            try:
                cells.append(cell.cell_contents)
            except ValueError:  # it is empty so far
                cells.append(None)
        named = {
            name: function.__globals__[name]
            for name in sorted(_names(function.__code__))
            if name in function.__globals__ and _is_state(function.__globals__[name])
        }
        return [self.fact(it, depth) for it in (vars(function), cells, named)]


def _of_class(kind: type) -> dict[str, Any]:
    """The plain values and containers of a class of the user's own, and its forward, which may keep some too."""
    own = [each for each in kind.__mro__ if each is not nn.Module and issubclass(each, nn.Module)]
    return {
        name: value
        for each in reversed(own)
        if not _is_theirs(each)
        for name, value in vars(each).items()
        if name == "forward" or (not name.startswith("__") and _is_state(value))
    }


def _is_state(value: object) -> bool:
    """Whether a value of a class or module may be something that steps keep count by."""
    kinds = (*PLAIN, list, dict, deque, set, np.generic, np.ndarray, itertools.count)
    return isinstance(value, kinds) or _standing(value) is not None


def _standing(value: object) -> object:
    """Where a generator of random numbers stands; None for what is none."""
    if isinstance(value, torch.Generator):
        return hashlib.sha256(value.get_state().numpy().tobytes()).hexdigest()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return hash(repr(value.get_state(legacy=False)))
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return hash(value.getstate())
    return None


def _digest(array: np.ndarray[Any, Any]) -> object:
    if array.dtype.hasobject:
        return array.shape
    if array.nbytes > MOST_BYTES:
        array = array.reshape(-1)[:: array.nbytes // MOST_BYTES + 1]
    return array.shape, str(array.dtype), hashlib.sha256(array.tobytes()).hexdigest()


def _ends(items: Sequence[Any]) -> list[Any]:
    if len(items) <= 2 * MOST_ITEMS:
        return list(items)
    back = [items[-number] for number in range(MOST_ITEMS, 0, -1)]
    return [*itertools.islice(items, MOST_ITEMS), *back]


def _names(code: CodeType) -> set[str]:
    """The names that a function's code, and that of functions within it, look up in its module."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _is_theirs(it: Any) -> bool:
    return str(getattr(it, "__module__", "")).partition(".")[0] in THEIRS
