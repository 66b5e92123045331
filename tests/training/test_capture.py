"""A recording bound to a state: what is done once and what at every step, and that the shortest calls are the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.training.trainings import Training, network
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training.capture import FUNCTIONS, METHODS, bound, direct, flat, shaped, simplified, text
from shoal.training.recorded import RecordedStep
from shoal.training.step_state import cloned

ATEN = torch.ops.aten
State = dict[str, dict[str, Tensor]]


def state(**tensors: Tensor) -> State:
    return {"group": dict(tensors)}


def counting(replay_of: fx.GraphModule, given: State) -> tuple[Callable[..., Any], list[str]]:
    """Bind a graph, and note the operations that a replay calls."""
    from torch.utils._python_dispatch import TorchDispatchMode

    called: list[str] = []

    class Notes(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.append(func._schema.name.removeprefix("aten::"))
            return func(*args, **(kwargs or {}))

    replay = bound(replay_of, given)

    def noted(*rest: Tensor) -> None:
        with Notes(), torch.inference_mode():
            replay(*rest)

    return noted, called


def test_views_of_the_state_are_made_once() -> None:
    def step(joined: Tensor, total: Tensor, inputs: Tensor) -> None:
        first, second = joined.split([6, 3])
        total.add_((inputs @ first.view(3, 2).t().t() + second.view(3).unsqueeze(0)[:, :2]).sum())

    joined, total = torch.randn(9), torch.zeros(())
    graph = simplified(make_fx(step)(joined.clone(), total.clone(), torch.randn(4, 3)))
    replay, called = counting(graph, state(joined=joined, total=total))
    inputs, wanted = torch.randn(4, 3), torch.zeros(())
    for _ in range(3):
        replay(inputs)
        step(joined, wanted, inputs)
        joined.mul_(0.5)  # the state changes where it is, and the views with it
    torch.testing.assert_close(total, wanted)
    assert called == ["mm", "add", "sum", "add_"] * 3


def test_a_constant_is_made_once_where_nobody_writes_to_it() -> None:
    def step(total: Tensor, inputs: Tensor) -> None:
        total.add_((inputs * torch.full((3,), 2.0)).sum())

    total, inputs = torch.zeros(()), torch.ones(3)
    replay, called = counting(make_fx(step)(total.clone(), inputs), state(total=total))
    for _ in range(2):
        replay(inputs)
    assert total == 12
    assert "full" not in called


def written(way: str) -> Callable[[Tensor, Tensor], None]:
    def step(total: Tensor, inputs: Tensor) -> None:
        ones = torch.full((3,), 1.0)
        if way == "itself":
            ones.add_(1.0)
        elif way == "a view":
            ones[1:].add_(1.0)
        elif way == "a view of a view":
            ones.view(3, 1).t()[0].mul_(2.0)
        elif way == "a view that is not in the list":
            ones.diag_embed().diagonal().fill_(0.0)
            ones.unfold(0, 1, 1).add_(1.0)
        else:
            torch.add(inputs, ones, out=ones)
        total.add_((inputs * ones).sum())

    return step


@pytest.mark.parametrize("way", ["itself", "a view", "a view of a view", "a view that is not in the list", "out"])
def test_what_is_written_to_is_made_anew_at_every_step(way: str) -> None:
    step = written(way)
    total, wanted, inputs = torch.zeros(()), torch.zeros(()), torch.ones(3)
    replay = bound(make_fx(step)(total.clone(), inputs), state(total=total))
    for _ in range(3):
        with torch.inference_mode():
            replay(inputs)
        step(wanted, inputs)
    assert total == wanted


def test_what_depends_on_a_batch_is_no_part_of_the_state() -> None:
    def step(total: Tensor, inputs: Tensor) -> None:
        total.add_(inputs.view(-1)[0])

    total = torch.zeros(())
    replay = bound(make_fx(step)(total.clone(), torch.ones(2, 2)), state(total=total))
    for value in (1.0, 2.0):
        replay(torch.full((2, 2), value))
    assert total == 3


def test_binding_leaves_the_recording_as_it_was() -> None:
    def step(total: Tensor, inputs: Tensor) -> None:
        total.view(1).add_(inputs)

    graph = make_fx(step)(torch.zeros(()), torch.ones(1))
    before = text(graph)
    for _ in range(2):
        total = torch.zeros(())
        bound(graph, state(total=total))(torch.ones(1))
        assert total == 1
    assert text(graph) == before


def test_a_state_is_flat_and_shaped_again() -> None:
    tree = {"b": {"x": torch.zeros(1), "a": torch.ones(1)}, "empty": {}, "a": {"y": torch.ones(2)}}
    again = shaped(tree, flat(tree))
    assert list(again) == ["b", "empty", "a"]
    assert again["b"]["a"] is tree["b"]["a"]
    assert again["a"]["y"] is tree["a"]["y"]


def test_text_tells_constants_and_branches_apart() -> None:
    def constant(value: float) -> fx.GraphModule:
        held = torch.tensor([value])
        return make_fx(lambda x: x + held)(torch.ones(1))

    assert text(constant(1.0)) == text(constant(1.0)) != text(constant(2.0))

    def branching(factor: float) -> fx.GraphModule:
        graph = fx.Graph()
        graph.output((graph.get_attr("branch"), graph.placeholder("x")))
        return fx.GraphModule({"branch": constant(factor)}, graph)

    assert text(branching(2.0)) == text(branching(2.0)) != text(branching(3.0))


def a() -> Tensor:
    return torch.tensor([[0.5, 0.25], [1.5, 2.0]])


ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "add.Tensor": [(a(), a()), (a(), 2.0)],
    "add.Scalar": [(a(), 2.0)],
    "sub.Tensor": [(a(), a() + 1)],
    "mul.Tensor": [(a(), a())],
    "div.Tensor": [(a(), a() + 1)],
    "div.Tensor_mode": [(a(), a() + 1)],
    "mm.default": [(a(), a())],
    "bmm.default": [(a()[None], a()[None])],
    "addmm.default": [(a()[0], a(), a())],
    "baddbmm.default": [(a()[None], a()[None], a()[None])],
    "relu.default": [(a() - 1,)],
    "sum.default": [(a(),)],
    "sum.dim_IntList": [(a(), [0], True)],
    "mean.default": [(a(),)],
    "mean.dim": [(a(), [1], False)],
    "argmax.default": [(a(), 1)],
    "eq.Tensor": [(a(), a())],
    "eq.Scalar": [(a(), 0.5)],
    "ne.Scalar": [(a(), 0.5)],
    "gt.Scalar": [(a(), 0.5)],
    "lt.Tensor": [(a(), a() * 2)],
    "where.self": [(a() > 1, a(), a() * 2)],
    "lerp.Scalar": [(a(), a() + 1, 0.25)],
    "lerp.Tensor": [(a(), a() + 1, a())],
    "maximum.default": [(a(), 1 - a())],
    "minimum.default": [(a(), 1 - a())],
    "neg.default": [(a(),)],
    "exp.default": [(a(),)],
    "log.default": [(a(),)],
    "sqrt.default": [(a(),)],
    "rsqrt.default": [(a(),)],
    "tanh.default": [(a(),)],
    "sigmoid.default": [(a(),)],
    "pow.Tensor_Scalar": [(a(), 2)],
    "pow.Scalar": [(0.9, a())],
    "pow.Tensor_Tensor": [(a(), a())],
    "cat.default": [([a(), a()],), ([a(), a()], 1)],
    "t.default": [(a(),)],
    "_softmax.default": [(a(), 1, False)],
    "_log_softmax.default": [(a(), 1, False)],
    "native_layer_norm.default": [(a(), [2], torch.ones(2), torch.zeros(2), 1e-5)],
    "native_batch_norm.default": [(a(), torch.ones(2), None, torch.zeros(2), torch.ones(2), True, 0.1, 1e-5)],
    "convolution.default": [(a()[None, None], a()[None, None], None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)],
    "add_.Tensor": [(a(), a())],
    "sub_.Tensor": [(a(), a())],
    "mul_.Tensor": [(a(), a())],
    "div_.Tensor": [(a(), a())],
    "copy_.default": [(a(), a() * 2)],
    "lerp_.Scalar": [(a(), a() * 2, 0.5)],
    "lerp_.Tensor": [(a(), a() * 2, a())],
    "ne_.Scalar": [(a(), 0.5)],
    "addcmul_.default": [(a(), a(), a())],
    "addcdiv_.default": [(a(), a(), a())],
    "zero_.default": [(a(),)],
    "view.default": [(a(), [4])],
    "view.dtype": [(a(), torch.int32)],
    "expand.default": [(a(), [3, 2, 2])],
}
KEYWORDS = {"add.Tensor": {"alpha": 2}, "div.Tensor_mode": {"rounding_mode": "floor"}, "addcmul_.default": {"value": 3},
            "addcdiv_.default": {"value": 3}, "sub_.Tensor": {"alpha": 2}, "sum.default": {"dtype": torch.float64},
            "mean.dim": {"dtype": torch.float64}}  # fmt: skip


def operation(name: str) -> Any:
    packet, overload = name.split(".")
    return getattr(getattr(ATEN, packet), overload)


def copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return [copied(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_shortest_call_is_the_dispatchers(name: str) -> None:
    op, keywords = operation(name), KEYWORDS.get(name, {})
    assert direct(op) is not op
    for arguments in ARGUMENTS[name]:
        first, second = [copied(it) for it in arguments], [copied(it) for it in arguments]
        found, wanted = direct(op)(*first, **keywords), op(*second, **keywords)
        for mine, theirs in zip((found, *first), (wanted, *second), strict=True):
            pairs = zip(mine, theirs, strict=True) if isinstance(mine, tuple | list) else [(mine, theirs)]
            for left, right in pairs:
                if isinstance(left, Tensor):
                    assert left.dtype == right.dtype
                    torch.testing.assert_close(left, right, rtol=0, atol=0)
        if name.split(".")[0] in METHODS and name.split(".")[0].endswith("_"):
            assert found is first[0]


def test_every_name_that_is_called_directly_is_compared() -> None:
    assert {name.split(".")[0] for name in ARGUMENTS} == FUNCTIONS | METHODS


def test_what_is_no_operation_of_torchs_is_called_as_it_is() -> None:
    assert direct(torch.ops.prims.sum.default) is torch.ops.prims.sum.default
    assert direct(ATEN.native_dropout.default) is ATEN.native_dropout.default
    assert direct(len) is len


def test_a_replay_is_the_recording_itself_bit_for_bit() -> None:
    """However views are made and operations called: the graph interpreted as it was recorded gives the same bits."""
    training = Training({"optimizer": {"name": "adamw"}, "regularise": {"clip_percentile": 50.0}}, model=network(0.4))
    step = training.stepping.recorded("captured")
    assert isinstance(step, RecordedStep)
    first, second = cloned(step.state.trees), cloned(step.state.trees)
    replay = bound(step.graph, first)
    for number, (batch, hyper) in enumerate(step.trial.batches):
        rest = [batch.inputs, batch.targets, batch.index, *step.upload([list(hyper)])[0].tensors]
        for perform in (lambda: replay(*rest), lambda: step.graph(*flat(second), *rest)):  # noqa: B023 called now
            step.trial.seed(number)
            with torch.inference_mode():
                perform()
    for left, right in zip(flat(first), flat(second), strict=True):
        assert torch.equal(left, right)


def test_text_has_a_digest_of_a_constant_and_not_its_numbers() -> None:
    def by(held: Tensor) -> str:
        return text(make_fx(lambda x: x + held)(torch.ones(1)))

    large = torch.arange(100_000.0)
    assert len(by(large)) < 1000
    assert by(large) == by(large.clone())
    assert by(large) == by(torch.stack([large, large], 1)[:, 0])
    changed = large.clone()
    changed[77_777] += 1
    assert by(changed) != by(large)
    assert by(large.int()) != by(large)
    assert by(torch.zeros(2, 1)) != by(torch.zeros(1, 2))
    assert by(torch.tensor(math.nan)) == by(torch.tensor(math.nan))
