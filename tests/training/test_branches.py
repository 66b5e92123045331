from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training.branches import COND, branches_of, branchless, refused_by_cond, taken
from shoal.training.capture import simplified, text

WEIGHT = torch.tensor([[2.0, 0.5], [0.1, -1.0]])
UP, FAR_UP, DOWN = (scale * torch.tensor([1.0, 2.0]) for scale in (1.0, 2.0, -1.0))
Branch = Callable[[Tensor], Tensor]


def in_python(condition: Tensor, first: Branch, second: Branch, operands: tuple[Tensor]) -> Tensor:
    return first(*operands) if condition else second(*operands)


def gradient(x: Tensor, cond: Callable[..., Any] = in_python) -> tuple[Tensor, Tensor]:
    """The loss of something that branches on a value, one branch with a branch of its own; and its gradient."""
    leaf = x.detach().requires_grad_()

    def inner(h: Tensor) -> Tensor:
        return cond(h.sum() > 4.0, lambda h: h.sin(), lambda h: h * 3.0, (h,))

    with torch.enable_grad():
        loss = cond(x.mean() > 0, inner, lambda h: (h @ WEIGHT).tanh(), (leaf,)).square().sum()
        (found,) = torch.autograd.grad(loss, [leaf])
    return loss.detach(), found


@pytest.fixture(scope="module")
def recorded() -> Callable[[], fx.GraphModule]:
    graph = simplified(make_fx(lambda x: gradient(x, torch.cond))(UP))
    return lambda: copy.deepcopy(graph)


def targets(graph: fx.GraphModule) -> set[object]:
    return {node.target for node in graph.graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize("x", [UP, FAR_UP, DOWN], ids=["holds", "holds within", "does not hold"])
def test_one_branch_or_both_computed_give_what_python_gave(recorded: Callable[[], fx.GraphModule], x: Tensor) -> None:
    flat, replayed = branchless(recorded()), recorded()
    assert COND not in targets(flat)
    assert branches_of(flat) == {}
    for node in replayed.graph.nodes:
        if node.target is COND:
            node.target = taken
    replayed.recompile()
    for graph in (recorded(), replayed, flat):
        for one, other in zip(graph(x), gradient(x), strict=True):
            torch.testing.assert_close(one, other)


def test_a_recording_holds_both_branches_without_what_autograd_left(recorded: Callable[[], fx.GraphModule]) -> None:
    graph = recorded()
    assert COND in targets(graph)
    assert len(branches_of(graph)) == 4  # two of the forward, two of the backward
    assert all(torch.ops.aten.detach.default not in targets(inner) for inner in branches_of(graph).values())


def test_the_text_of_a_recording_has_its_branches(recorded: Callable[[], fx.GraphModule]) -> None:
    one, other = recorded(), recorded()
    assert text(one) == text(other)
    inner = branches_of(other)["false_graph_0"]
    node = next(node for node in inner.graph.nodes if node.op == "call_function")
    node.target = torch.ops.aten.cos.default
    inner.recompile()
    assert one.code == other.code
    assert text(one) != text(other)


def test_only_the_refusal_of_cond_itself_is_one() -> None:
    whole = torch.ones(4)
    with pytest.raises(RuntimeError) as caught:
        torch.cond(whole.sum() > 0, lambda a, b: a + b, lambda a, b: a - b, (whole[:2], whole[2:]))
    assert refused_by_cond(caught.value)
    assert not refused_by_cond(RuntimeError("no"))
    assert not refused_by_cond(None)
