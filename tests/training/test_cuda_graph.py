"""A step as a CUDA graph: what the graph reads stays where it is for as long as it can be launched."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training.capture import bound
from shoal.training.cuda_graph import Launch, graphed

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")


class Addresses:
    """Like a captured graph: it knows where it reads, and holds nothing."""

    def __init__(self) -> None:
        self.launches = 0

    def replay(self) -> None:
        self.launches += 1


def step(total: Tensor, inputs: Tensor) -> None:
    total.add_((inputs * torch.full((3,), 2.0, device=inputs.device)).sum())


def test_a_launch_holds_the_constants_that_its_graph_reads() -> None:
    total = torch.zeros(())
    replay = bound(make_fx(step)(total.clone(), torch.ones(3)), {"state": {"total": total}})
    cells = [cell.cell_contents for cell in replay.__closure__ or ()]
    (fixed,) = (cell for cell in cells if isinstance(cell, list))
    constants = [weakref.ref(tensor) for tensor in fixed if tensor is not total]
    assert len(constants) == 1
    del cells, fixed
    graph = Addresses()
    launch = Launch(graph, [torch.zeros(3)], replay)
    del replay
    assert constants[0]() is not None
    launch(torch.tensor([1.0, 2.0, 3.0]))
    assert graph.launches == 1
    assert launch.places[0].tolist() == [1.0, 2.0, 3.0]
    del launch
    assert constants[0]() is None


@needs_gpu
def test_graphs_of_one_pool_compute_and_the_state_is_put_back() -> None:
    total, pool = torch.zeros((), device="cuda"), torch.cuda.graph_pool_handle()
    graph = make_fx(step)(total.clone(), torch.ones(3, device="cuda"))
    launches = [
        graphed(bound(graph, {"state": {"total": total}}), [torch.ones(3, device="cuda")], keep=[total], pool=pool)
        for _ in range(2)
    ]
    assert float(total) == 0
    for launch in launches:
        launch(torch.ones(3, device="cuda"))
    assert float(total) == 12
