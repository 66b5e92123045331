"""A replayed step as one CUDA graph: the whole step is launched at once, without Python between its kernels.

Its tensors stay where they are; batches and hypers are copied to where the graph reads them. torch's generator is known
to the graph, so that seeding it before a launch seeds the masks of that step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3
"""Runs on a side stream before a graph is captured, as torch asks for: libraries allocate what they need."""


@dataclass(frozen=True)
class Launch:
    """Launches a graph on tensors, which are copied to the `places` where it reads them.

    A graph knows addresses and holds nothing: `replay` is held for the constants, views and weights that it reads.
    """

    graph: Any
    places: Sequence[Tensor]
    replay: Callable[..., Any]

    def __call__(self, *arguments: Tensor) -> None:
        """Perform the step."""
        for place, argument in zip(self.places, arguments, strict=True):
            place.copy_(argument, non_blocking=True)
        self.graph.replay()


def graphed(
    replay: Callable[..., Any], tensors: Sequence[Tensor], *, keep: Sequence[Tensor] = (), pool: Any = None
) -> Callable[..., Any]:
    """Return a function that launches `replay` as a CUDA graph.

    `tensors` are like those it will be called with; `keep` are those that it writes to, whose values are put back after
    the runs that capturing needs. Graphs of one `pool` have their memory in common, so they must not run at one time,
    and nothing that one leaves there is looked at after another: a step leaves all in its state.
    """
    places = [tensor.clone() for tensor in tensors]
    before = [tensor.clone() for tensor in keep]
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), torch.inference_mode():
            for _ in range(WARM_UPS):
                replay(*places)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, pool=pool):
            replay(*places)
    finally:
        with torch.inference_mode():
            for tensor, value in zip(keep, before, strict=True):
                tensor.copy_(value)
    return Launch(graph, places, replay)
