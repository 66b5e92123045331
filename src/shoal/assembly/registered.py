"""What a program registers: the state of each thing as plain values and tensors, and the way back.

Anything with `state_dict` and `load_state_dict`; generators of torch, NumPy and Python; tensors, arrays, lists, dicts
and deques, which are filled in place, so that whoever holds them sees what was restored.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from shoal.errors import InputError, unknown

EXPECTED = (
    "expected what has state_dict and load_state_dict, a generator of torch, NumPy or Python, a tensor, an array, a "
    "list, a dict or a deque. A number or a text cannot be restored in place: keep it in a dict, "
    "run.register(progress={'best': 0})"
)


class Registered:
    """The things of one program by name; `saved` are the states of a checkpoint, None where there are none."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        self.things: dict[str, Any] = {}
        self.saved = saved

    def add(self, name: str, thing: Any, *, restored: bool) -> None:
        """Take a thing in; with `restored` its state is put back at once.

        Raises InputError for what has no state, for a name that is taken, and where the checkpoint has none of it.
        """
        if name in self.things:
            raise InputError(f"register: {name!r} is registered already: each thing has a name of its own.")
        access(name, thing)
        self.things[name] = thing
        if restored and self.saved is not None:
            if name not in self.saved:
                raise InputError(
                    f"register: the checkpoint has no state of {name!r}: {unknown('name', name, self.saved)} Was the "
                    "program changed since? again=True begins anew, and sets the run aside."
                )
            restore(name, thing, deepcopy(self.saved[name]))  # some keep the tensors that they are given

    def again(self) -> None:
        """Put everything back once more: a program may have changed it on its way to where it was saved."""
        for name in self.things.keys() & (self.saved or {}).keys():
            assert self.saved is not None
            restore(name, self.things[name], deepcopy(self.saved[name]))

    def arrived(self) -> None:
        """Put everything back for good; raises InputError where the checkpoint has the state of what is missing."""
        missing = sorted(set(self.saved or ()) - set(self.things))
        if missing:
            raise InputError(
                f"the checkpoint has the state of {', '.join(missing)}, which the program has not registered before "
                f"its loop: run.register({missing[0]}=...). again=True begins anew, and sets the run aside."
            )
        self.again()
        self.saved = None

    def states(self) -> dict[str, Any]:
        """Return the state of every thing."""
        return {name: access(name, thing)[0]() for name, thing in self.things.items()}


def access(name: str, thing: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Return how the state of a thing is read and how it is put back; raises InputError for what has none."""
    if isinstance(thing, Tensor):
        return lambda: thing, lambda state: _fill(thing, state)
    if isinstance(thing, np.ndarray):
        array = cast("np.ndarray[Any, Any]", thing)
        return lambda: torch.from_numpy(array), lambda state: _fill(torch.from_numpy(array), state)
    if isinstance(thing, torch.Generator):
        return thing.get_state, lambda state: thing.set_state(state)
    if isinstance(thing, np.random.Generator):
        bits = cast(Any, thing.bit_generator)
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    if isinstance(thing, random.Random):
        return lambda: list(thing.getstate()), lambda state: thing.setstate((state[0], tuple(state[1]), state[2]))
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return thing.state_dict, thing.load_state_dict
    if isinstance(thing, dict):
        return lambda: cast(Any, thing), lambda state: _replaced(thing, cast(Any, thing).update, state)
    if isinstance(thing, list | deque):
        return lambda: list(cast(Any, thing)), lambda state: _replaced(thing, cast(Any, thing).extend, state)
    raise InputError(f"register: {name} is a {type(thing).__name__}: {EXPECTED}.")


def restore(name: str, thing: Any, state: Any) -> None:
    """Put a state back; raises InputError where it is not one of such a thing."""
    try:
        access(name, thing)[1](state)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"register: the state of {name!r} in the checkpoint does not fit what was registered: {error} Was the "
            "program changed since? again=True begins anew, and sets the run aside."
        ) from error


def _fill(tensor: Tensor, state: Tensor) -> None:
    if tensor.shape != state.shape:
        raise ValueError(f"its shape was {list(state.shape)} and is {list(tensor.shape)}.")
    with torch.no_grad():
        tensor.copy_(state)


def _replaced(thing: Any, put: Callable[[Any], Any], state: Any) -> None:
    thing.clear()
    put(state)
