"""The vectors of spectral norms belong to the weights that they are asked for, and the model is left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from shoal.models import reparametrised
from shoal.optim import functional_call, spectral_vectors
from shoal.training.weights import evaluating, weights_of

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 4), (2, 6)),
    "convolution": (nn.Conv2d(3, 5, 3), (2, 3, 6, 6)),
    "transposed": (nn.ConvTranspose2d(3, 5, 3), (2, 3, 6, 6)),
}


def sigma(weight: Tensor, dim: int) -> float:
    """The largest singular value of a weight as [outputs, rest]."""
    return torch.linalg.matrix_norm(weight.movedim(dim, 0).flatten(1), 2).item()


def other(model: nn.Module) -> dict[str, Tensor]:
    """Weights far from the model's own, and a mean of vectors, which is no unit vector."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: 0.3 * value if name.endswith(("_u", "_v")) else torch.randn(value.shape, generator=generator)
        for name, value in weights_of(model).items()
    }


@pytest.mark.parametrize("way", [parametrizations.spectral_norm, spectral_norm], ids=["parametrization", "hook"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight_is_divided_by_its_largest_singular_value(kind: str, way: Any) -> None:
    torch.manual_seed(0)
    layer, shape = copy.deepcopy(LAYERS[kind])
    model, dim = way(layer), 1 if kind == "transposed" else 0
    weights, before = other(model), {name: value.clone() for name, value in weights_of(model).items()}
    vectors = spectral_vectors(model, weights)
    assert {name.rpartition("_")[2] for name in vectors} == {"u", "v"}
    assert all(value.norm().item() == pytest.approx(1.0, rel=1e-5) for value in vectors.values())
    original = next(value for name, value in weights.items() if "orig" in name)
    bias = next(value for name, value in weights.items() if name.endswith("bias"))
    inputs = torch.randn(shape)
    plain, _ = copy.deepcopy(LAYERS[kind])
    expected = functional_call(plain, {"weight": original / sigma(original, dim), "bias": bias}, (inputs,))
    with evaluating(model):
        found = functional_call(model, {**weights, **vectors}, (inputs,))
        without = functional_call(model, weights, (inputs,))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(without, expected, rtol=0.1, atol=0.1)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())


def test_a_weight_that_modules_share_has_vectors_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.output = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.embed.weight = self.output.weight

        def forward(self, tokens: Tensor) -> Tensor:
            return self.output(self.embed(tokens))

    torch.manual_seed(0)
    model = reparametrised(Tied(), spectral_norm=True)
    weights = other(model)
    vectors = spectral_vectors(model, weights)
    assert len(vectors) == 2
    assert set(vectors) <= set(weights)
    original = next(value for name, value in weights.items() if name.endswith("original"))
    tokens = torch.arange(5)
    expected = (original @ original.T) / sigma(original, 0) ** 2
    with evaluating(model):
        found = functional_call(model, {**weights, **vectors}, (tokens,))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_weights_without_a_singular_value_end_it_too(value: float) -> None:
    model = parametrizations.spectral_norm(nn.Linear(3, 2))
    weights = {name: torch.full_like(tensor, value) for name, tensor in weights_of(model).items()}
    assert len(spectral_vectors(model, weights)) == 2


def test_without_spectral_norms_there_are_none() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)), nn.BatchNorm1d(2))
    assert spectral_vectors(model, weights_of(model)) == {}
