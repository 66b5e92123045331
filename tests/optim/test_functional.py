"""A model called with other weights computes with them, and has its own back, whatever it shares inside."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.optim import functional_call

Tree = dict[str, Tensor]


class SharedModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.again = self.first

    def forward(self, x_BC: Tensor) -> Tensor:
        return self.again(torch.tanh(self.first(x_BC)))


class SharedTensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Linear(3, 3), nn.Linear(3, 3)
        self.again.weight = self.first.weight

    def forward(self, x_BC: Tensor) -> Tensor:
        return self.again(torch.tanh(self.first(x_BC)))


MODELS = {
    "plain": lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)),
    "a layer alone": lambda: nn.Linear(3, 3),
    "shared module": SharedModule,
    "shared tensor": SharedTensor,
    "parametrised": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_it_computes_with_the_weights_given_and_leaves_its_own(kind: str) -> None:
    torch.manual_seed(0)
    model, x = MODELS[kind](), torch.randn(5, 3)
    own = {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(2).add_(0.1)
    weights: Tree = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    weights = {name: value.detach().clone() for name, value in weights.items()}

    found = functional_call(model, weights, (x,))
    assert torch.equal(found, other(x))
    for name, value in {**dict(other.named_parameters()), **dict(other.named_buffers())}.items():
        assert torch.equal(weights[name], value), "buffers that are given are written to as the model's own would be"
    for name, value in model.state_dict(keep_vars=True).items():
        assert value is own[name][0], name
        assert torch.equal(value, own[name][1]), name


def test_what_is_not_given_is_the_models_own() -> None:
    model = nn.Linear(3, 3)
    found = functional_call(model, {"bias": torch.ones(3)}, (torch.zeros(1, 3),))
    assert found.tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("kind", MODELS)
def test_it_is_recorded(kind: str) -> None:
    model, x = MODELS[kind](), torch.randn(5, 3)
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    weights |= {name: value.clone() for name, value in model.named_buffers()}

    def forward(weights: Tree, x: Tensor) -> Tensor:
        return functional_call(model, weights, (x,))

    recorded = make_fx(forward)({name: value.clone() for name, value in weights.items()}, x)
    others = {name: value + 1 for name, value in weights.items()}
    again = {name: value.clone() for name, value in others.items()}
    assert torch.equal(recorded(others, 2 * x), forward(again, 2 * x))
    assert all(torch.equal(others[name], again[name]) for name in weights)
