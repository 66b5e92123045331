from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import traceback
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training.phases import module_of, noted, phase, phase_of


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("no")


def network(last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Tanh()), nn.ReLU(), last)


def test_an_operation_knows_its_part_and_the_innermost_module() -> None:
    model = network(nn.Sigmoid())

    def step(x: Tensor) -> Tensor:
        with phase("forward"):
            outputs = model(x)
            with phase("loss"):
                return outputs.sum()

    with noted(model):
        graph = make_fx(step)(torch.ones(2))
    found = {node.name: (phase_of(node), module_of(node)) for node in graph.graph.nodes if node.op == "call_function"}
    assert found == {
        "tanh": ("forward", "0.0"),
        "relu": ("forward", "1"),
        "sigmoid": ("forward", "2"),
        "sum_1": ("loss", None),
    }


def test_a_module_that_raises_leaves_nothing_behind() -> None:
    model = network(nn.Sequential(Failing()))
    before = dict(traceback.current_meta)
    with pytest.raises(ValueError, match="no"), noted(model):
        make_fx(model)(torch.ones(2))
    assert traceback.current_meta == before
    assert module_of(next(iter(make_fx(lambda x: x.sin())(torch.ones(2)).graph.nodes))) is None
    network(nn.Sigmoid())(torch.ones(2))  # no hook is left
    assert traceback.current_meta == before
