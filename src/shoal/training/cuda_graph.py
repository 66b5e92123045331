"""A replayed step as one CUDA graph: the whole step is launched at once, without Python between its kernels.

Its tensors stay where they are; batches and hypers are copied to where the graph reads them. torch's generator is known
to the graph, so that seeding it before a launch seeds the masks of that step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3
"""Runs on a side stream before a graph is captured, as torch asks for: libraries allocate what they need."""


def graphed(
    replay: Callable[..., Any], tensors: Sequence[Tensor], *, keep: Sequence[Tensor] = ()
) -> Callable[..., Any]:
    """Return a function that launches `replay` as a CUDA graph.

    `tensors` are like those it will be called with; `keep` are those that it writes to, whose values are put back after
    the runs that capturing needs.
    """
    places = [tensor.clone() for tensor in tensors]
    before = [tensor.clone() for tensor in keep]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.inference_mode():
        for _ in range(WARM_UPS):
            replay(*places)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        replay(*places)
    with torch.inference_mode():
        for tensor, value in zip(keep, before, strict=True):
            tensor.copy_(value)

    def launch(*arguments: Tensor) -> None:
        for place, argument in zip(places, arguments, strict=True):
            place.copy_(argument, non_blocking=True)
        graph.replay()

    return launch
