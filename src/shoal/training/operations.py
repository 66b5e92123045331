"""The operations of a recorded step: what each is given and returns, and the time it takes alone on its own inputs.

A small operation takes about as long to call as to do; what is said of it holds for this machine and these threads.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx

from shoal.training.branches import branches
from shoal.training.capture import direct, lasting
from shoal.training.phases import module_of, phase_of

HEAVY = ("mm", "bmm", "addmm", "baddbmm", "convolution", "attention", "linear", "embedding_dense_backward")
"""Operations that no fusion makes faster: matrix products, convolutions and attention."""


@dataclass(frozen=True)
class Returned:
    """A tensor that an operation returns."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Returned:
        """Describe a tensor."""
        return cls(plain_name(tensor.dtype), tuple(tensor.shape))


@dataclass(frozen=True)
class Timed:
    """One operation of a graph.

    `seconds` is the median of the repeats. `replayed` is False where it is done once, when the graph is bound. A
    `torch.cond` has the operations of either branch in `inside`, without times: its own is that of the branch taken.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    returns: tuple[Returned, ...]
    seconds: float | None
    replayed: bool = True
    phase: str | None = None
    module: str | None = None
    inside: tuple[tuple[Timed, ...], ...] = ()

    @property
    def heavy(self) -> bool:
        """Whether arithmetic rather than memory or calls is what it takes."""
        return any(word in self.operation for word in HEAVY) or any(
            one.heavy for branch in self.inside for one in branch
        )


class _Timer(fx.Interpreter):
    """Runs a graph, measuring each operation as a replay calls it."""

    def __init__(self, module: fx.GraphModule, device: torch.device) -> None:
        super().__init__(module)
        self.device = device
        self.node: fx.Node | None = None
        self.seconds: dict[fx.Node, list[float]] = {}
        self.returned: dict[fx.Node, tuple[Returned, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.node = n
        return super().run_node(n)

    def call_function(self, target: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call, node = direct(target), self.node
        assert node is not None
        self._wait()
        began = time.perf_counter()
        result: Any = call(*args, **kwargs)
        self._wait()
        self.seconds.setdefault(node, []).append(time.perf_counter() - began)
        if node not in self.returned:
            self.returned[node] = _tensors(result)
        return result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def heavy_share(operations: Iterable[Timed]) -> float:
    """Return the share of a step that heavy operations take; all were timed together, at one speed of the machine.

    >>> heavy_share([])
    0.0
    """
    seconds = [(operation.heavy, operation.seconds or 0.0) for operation in operations if operation.replayed]
    return sum(each for heavy, each in seconds if heavy) / (sum(each for _, each in seconds) or 1.0)


def timed(
    graph: fx.GraphModule,
    tensors: Sequence[Tensor],
    *,
    state: int = 0,
    names: Sequence[str] = (),
    repeats: int = 5,
    seconds: float = 1.0,
) -> list[Timed]:
    """Return every operation of a graph with its time, in order; what the graph changes of `tensors` is changed.

    The first `state` of the tensors stay where they are from step to step; `names` are those of the tensors. The time
    is the median of `repeats`, or of as many as fit into about so many seconds, after one that is not counted.
    """
    timer, began = _Timer(graph, tensors[0].device), time.perf_counter()
    with torch.no_grad():
        for repeat in range(repeats + 1):
            timer.run(*tensors)
            if repeat and time.perf_counter() - began > seconds:
                break
    once = set(lasting(graph, state))
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    known = dict(zip(placeholders, names, strict=False))
    return [
        Timed(
            name=node.name,
            operation=operation_of(node),
            inputs=inputs_of(node, known),
            returns=timer.returned[node],
            seconds=sorted(taken[1:])[len(taken[1:]) // 2],
            replayed=node not in once,
            phase=phase_of(node),
            module=module_of(node),
            inside=_inside(node, known),
        )
        for node, taken in timer.seconds.items()
        if node.target is not operator.getitem
    ]


def operation_of(node: fx.Node) -> str:
    """Return what an operation is called, without the name of the library: `addmm`, `add.Tensor`, `cond`."""
    return str(node.target).removeprefix("aten.").removesuffix(".default")


def inputs_of(node: fx.Node, names: Mapping[fx.Node, str]) -> tuple[str, ...]:
    """Return an operation's arguments as text."""
    keywords = [f"{key}={_said(value, names)}" for key, value in node.kwargs.items()]
    return (*(_said(value, names) for value in node.args), *keywords)


def plain_name(value: torch.dtype) -> str:
    """Return `float32` for torch.float32."""
    return str(value).removeprefix("torch.")


def _inside(node: fx.Node, names: Mapping[fx.Node, str]) -> tuple[tuple[Timed, ...], ...]:
    both = branches(node)
    if both is None:
        return ()
    operands: Any = node.args[3]
    return tuple(_listed(inner, [_said(operand, names) for operand in operands], node.name) for inner in both)


def _listed(module: fx.GraphModule, operands: Sequence[str], within: str) -> tuple[Timed, ...]:
    """The operations of a branch, whose names begin with that of the operation that holds it."""
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    names = {node: f"{within}.{node.name}" for node in module.graph.nodes}
    names |= dict(zip(placeholders, operands, strict=True))
    return tuple(
        Timed(
            names[node], operation_of(node), inputs_of(node, names), _recorded(node), None, inside=_inside(node, names)
        )
        for node in module.graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    )


def _recorded(node: fx.Node) -> tuple[Returned, ...]:
    """What a node returned while it was recorded."""
    return _tensors(node.meta.get("val"))


def _tensors(value: Any) -> tuple[Returned, ...]:
    """Describe the tensors among what an operation returned."""
    values = cast("Sequence[Any]", value if isinstance(value, tuple | list) else [value])
    return tuple(Returned.of(one) for one in values if isinstance(one, Tensor))


def _said(value: Any, names: Mapping[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        if value.op == "call_function" and value.target is operator.getitem:
            return f"{_said(value.args[0], names)}[{value.args[1]}]"
        return names.get(value, value.name)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_said(one, names) for one in cast('Sequence[Any]', value))}]"
    return plain_name(value) if isinstance(value, torch.dtype) else str(value)
