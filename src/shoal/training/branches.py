"""Branches on a tensor's value in a recorded step: `torch.cond`, one operation that holds a graph for either branch.

A CPU replays it as it is and does the work of one branch. A GPU would have to wait for the value before it knew which
kernels to launch, and a CUDA graph cannot: there both branches are computed, and the results of one are taken. That
changes nothing but the work, for the gradient has been worked out within each branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

COND: Any = torch.ops.higher_order.cond


def branches_of(module: fx.GraphModule) -> dict[str, fx.GraphModule]:
    """Return the graphs that a graph's operations hold, by attribute."""
    held = {str(node.target): getattr(module, str(node.target)) for node in module.graph.nodes if node.op == "get_attr"}
    return {name: inner for name, inner in held.items() if isinstance(inner, fx.GraphModule)}


def refused_by_cond(error: BaseException | None) -> bool:
    """Whether `torch.cond` itself refused what it was given, as it does tensors that share memory."""
    return type(error).__name__ == "UncapturedHigherOrderOpError"


def branches(node: fx.Node) -> tuple[fx.GraphModule, fx.GraphModule] | None:
    """Return what a node does where its condition holds, and where not; None where it is no `torch.cond`."""
    if node.op != "call_function" or node.target is not COND:
        return None
    module, (_, first, second, _) = node.graph.owning_module, cast("tuple[Any, ...]", node.args)
    return getattr(module, first.target), getattr(module, second.target)


def taken(condition: Tensor, first: fx.GraphModule, second: fx.GraphModule, operands: Sequence[Any]) -> Any:
    """Do what `torch.cond` does in a replay, without the 80 microseconds that it takes to find that out."""
    return (first if condition else second).forward(*operands)


def branchless(module: fx.GraphModule) -> fx.GraphModule:
    """Let every `torch.cond` compute both branches and take the results of one, without asking for the condition."""
    graph = module.graph
    for node in list(graph.nodes):
        both = branches(node)
        if both is None:
            continue
        condition: Any = node.args[0]
        with graph.inserting_before(node):
            first, second = (
                _inlined(module, branchless(inner), node, f"{node.name}_{number}") for number, inner in enumerate(both)
            )
            chosen = [
                graph.call_function(torch.ops.aten.where.self, (condition, *pair))
                for pair in zip(first, second, strict=True)
            ]
        for user in list(node.users):  # each takes one result
            number: Any = user.args[1]
            user.replace_all_uses_with(chosen[number])
            graph.erase_node(user)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()
    return module


def _inlined(module: fx.GraphModule, inner: fx.GraphModule, at: fx.Node, prefix: str) -> list[fx.Node]:
    """Copy a branch's operations into a graph, where new nodes go; return the nodes of its results."""
    operands: Any = at.args[3]
    placeholders = [node for node in inner.graph.nodes if node.op == "placeholder"]
    known: dict[fx.Node, fx.Node] = dict(zip(placeholders, operands, strict=True))
    results: Any = module.graph.graph_copy(inner.graph, known)
    for node, copy in known.items():
        if node.op == "get_attr":  # a constant of the branch's own
            copy.target = f"{prefix}_{node.target}"
            setattr(module, copy.target, getattr(inner, str(node.target)))
        if node.op != "placeholder" and "custom" in at.meta:
            copy.meta["custom"] = at.meta["custom"]
    return list(results)
