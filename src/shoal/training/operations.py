"""The time of each operation of a recorded step, measured one by one on its own inputs.

A small operation takes about as long to call as to do; what is said of it holds for this machine and these threads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

HEAVY = ("mm", "bmm", "addmm", "baddbmm", "convolution", "attention", "linear", "embedding_dense_backward")
"""Operations that no fusion makes faster: matrix products, convolutions and attention."""


@dataclass(frozen=True)
class Timed:
    """One operation of a graph: its name, the shape of what it returns, and seconds (the median of the repeats)."""

    operation: str
    shape: tuple[int, ...] | None
    seconds: float

    @property
    def heavy(self) -> bool:
        """Whether arithmetic rather than memory or calls is what it takes."""
        return any(word in self.operation for word in HEAVY)


class _Timer(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, device: torch.device) -> None:
        super().__init__(module)
        self.device = device
        self.seconds: dict[fx.Node, list[float]] = {}
        self.shapes: dict[fx.Node, tuple[int, ...] | None] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        began = time.perf_counter()
        result = super().run_node(n)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds.setdefault(n, []).append(time.perf_counter() - began)
        self.shapes[n] = tuple(result.shape) if isinstance(result, Tensor) else None
        return result


def timed(graph: fx.GraphModule, tensors: Sequence[Tensor], *, repeats: int = 5, seconds: float = 1.0) -> list[Timed]:
    """Return every operation of a graph with its time, in order; what the graph changes of `tensors` is changed.

    The median of `repeats`, or of as many as fit into about so many seconds, after one that is not counted.
    """
    timer, began = _Timer(graph, tensors[0].device), time.perf_counter()
    with torch.no_grad():
        for repeat in range(repeats + 1):
            timer.run(*tensors)
            if repeat and time.perf_counter() - began > seconds:
                break
    return [
        Timed(str(node.target).removeprefix("aten."), timer.shapes[node], sorted(taken[1:])[len(taken[1:]) // 2])
        for node, taken in timer.seconds.items()
        if node.target is not getattr
    ]
