"""A recorded step compiled by torch's inductor: fewer passes over memory, and less of Python between them.

The graph goes to inductor as it was recorded, without dynamo's tracing and guards: shapes are fixed, and a step costs a
quarter of the time that `torch.compile` around the same graph takes for a small network. Random numbers are drawn by
torch's own kernels, so that masks are those of the eager step.
"""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, fx

from shoal.errors import ShoalError


class NotCompilableError(ShoalError):
    """A step that inductor cannot compile here; the message is a clause that says why."""


OPTIONS: dict[str, Any] = {"fallback_random": True}
"""Of inductor: draw random numbers by the eager kernels."""


def compiled(graph: fx.GraphModule, tensors: Sequence[Tensor]) -> Callable[[list[Tensor]], Any]:
    """Return a compiled graph as a function of its tensors; raises NotCompilableError, with a reason in one clause."""
    missing = no_compiler() if tensors[0].device.type == "cpu" else None
    if missing is not None:
        raise NotCompilableError(missing)
    inductor: Any = importlib.import_module("torch._inductor")
    config: Any = importlib.import_module("torch._inductor.config")
    try:
        with warnings.catch_warnings(), config.patch(OPTIONS), torch.no_grad():
            warnings.simplefilter("ignore")
            call: Any = inductor.compile(graph, list(tensors))
    except Exception as error:  # the boundary to a compiler and what it calls
        raise NotCompilableError(
            f"inductor failed ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        ) from error

    def run(arguments: list[Tensor]) -> Any:
        return call(*arguments)

    return run


@lru_cache(maxsize=1)
def no_compiler() -> str | None:
    """Return why nothing can be compiled for the CPU here, or None."""
    config: Any = importlib.import_module("torch._inductor.config")
    chosen = cast("tuple[str | None, ...] | str", config.cpp.cxx)
    names = [chosen] if isinstance(chosen, str) else [name for name in chosen if name]
    if any(shutil.which(name) for name in [*names, "g++", "clang++", "c++"]):
        return None
    return "there is no C++ compiler on this machine: install one, such as g++, to compile"
