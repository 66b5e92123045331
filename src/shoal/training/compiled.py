"""A recorded step compiled by torch's inductor: fewer passes over memory, and less of Python between them.

The graph goes to inductor as it was recorded, without dynamo's tracing and guards: shapes are fixed, and a step costs a
quarter of the time that `torch.compile` around the same graph takes for a small network. Random numbers are drawn by
torch's own kernels, so that masks are those of the eager step.

Inductor joins `add(mm(a, b), c, alpha=s)` to `addmm(c, a, b)`, and takes `addmm` apart, without the factors (pytorch
#167313; seen in 2.13): sums with factors are therefore written as products and sums before it sees them.
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
from shoal.training.branches import branches_of


class NotCompilableError(ShoalError):
    """A step that inductor cannot compile here; the message is a clause that says why."""


OPTIONS: dict[str, Any] = {"fallback_random": True}
"""Of inductor: draw random numbers by the eager kernels."""
ATEN = torch.ops.aten
SUMS: frozenset[Any] = frozenset({ATEN.add.Tensor, ATEN.add_.Tensor, ATEN.sub.Tensor, ATEN.sub_.Tensor})
"""`self + alpha * other`, and the like."""
PRODUCTS: dict[Any, Any] = {ATEN.addmm.default: ATEN.mm.default, ATEN.baddbmm.default: ATEN.bmm.default}
"""`beta * self + alpha * (first @ second)`, and what multiplies alone."""


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
            call: Any = inductor.compile(without_factors(graph), list(tensors))
    except Exception as error:  # the boundary to a compiler and what it calls
        raise NotCompilableError(
            f"inductor failed ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        ) from error

    def run(arguments: list[Tensor]) -> Any:
        return call(*arguments)

    return run


def without_factors(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a graph, and of the branches that it holds, in which no sum has a factor of its own."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    found = fx.GraphModule(module, graph)
    for name, inner in branches_of(found).items():
        setattr(found, name, without_factors(inner))
    for node in list(graph.nodes):
        factors = {name: node.kwargs.get(name, 1) for name in ("alpha", "beta")}
        if set(factors.values()) == {1}:
            continue
        with graph.inserting_before(node):
            if node.target in SUMS:
                this, other = node.args
                node.args, node.kwargs = (this, _times(graph, other, factors["alpha"])), {}
            elif node.target in PRODUCTS:
                this, first, second = node.args
                product = graph.call_function(PRODUCTS[node.target], (first, second))
                scaled = (product, factors["alpha"])
                if factors["beta"] == 0:  # what is in `self` is not looked at then, NaN neither
                    node.target, node.args = ATEN.mul.Tensor, scaled
                else:
                    this = graph.call_function(ATEN.mul.Tensor, (this, factors["beta"]))
                    node.target, node.args = ATEN.add.Tensor, (graph.call_function(ATEN.mul.Tensor, scaled), this)
                node.kwargs = {}
    found.recompile()
    return found


def _times(graph: fx.Graph, value: Any, factor: Any) -> Any:
    """What is added may be a number, and so may be what it is multiplied by."""
    if isinstance(value, fx.Node):
        return graph.call_function(ATEN.mul.Tensor, (value, factor))
    return value * factor


@lru_cache(maxsize=1)
def no_compiler() -> str | None:
    """Return why nothing can be compiled for the CPU here, or None."""
    config: Any = importlib.import_module("torch._inductor.config")
    chosen = cast("tuple[str | None, ...] | str", config.cpp.cxx)
    names = [chosen] if isinstance(chosen, str) else [name for name in chosen if name]
    if any(shutil.which(name) for name in [*names, "g++", "clang++", "c++"]):
        return None
    return "there is no C++ compiler on this machine: install one, such as g++, to compile"
