"""The optimizers of a recipe against their formulas in NumPy, float64, over twenty steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shoal import optim
from shoal.recipe.parse import parse

STEPS = 20
CPU = torch.device("cpu")
Weights = dict[str, np.ndarray]


class Network(nn.Module):
    """A weight matrix, a bias, and a norm whose scale and shift have two axes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.LayerNorm((3, 2))


DECAYED = {"linear.weight"}


def gradients(seed: int = 0) -> list[Weights]:
    generator = np.random.default_rng(seed)
    shapes = {name: tuple(p.shape) for name, p in Network().named_parameters()}
    return [{name: generator.normal(size=shape) for name, shape in shapes.items()} for _ in range(STEPS)]


def trained(keys: dict[str, Any]) -> tuple[Weights, Weights]:
    """The weights before and after twenty steps of the recipe's optimizer on given gradients."""
    torch.manual_seed(0)
    model = Network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1.5)  # a bias of zero would not show that it is decayed
    part = parse({"optimizer": keys}).optimizer
    optimizer = optim.build(part, model, CPU)
    before = {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}
    for gradient in gradients():
        for name, parameter in model.named_parameters():
            parameter.grad = torch.from_numpy(gradient[name]).float()
        optimizer.step()
    return before, {name: p.detach().double().numpy() for name, p in model.named_parameters()}


def sgd(
    x: np.ndarray, g: list[np.ndarray], *, lr: float, momentum: float, decay: float, nesterov: bool = False
) -> np.ndarray:
    """Sutskever et al. 2013, as torch has it: v = momentum v + g; x -= lr v, or lr (g + momentum v) with Nesterov."""
    velocity = np.zeros_like(x)
    for gradient in g:
        slope = gradient + decay * x
        velocity = momentum * velocity + slope
        x = x - lr * (slope + momentum * velocity if nesterov else velocity)
    return x


def adamw(
    x: np.ndarray, g: list[np.ndarray], *, lr: float, beta1: float, beta2: float, eps: float, decay: float
) -> np.ndarray:
    """Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with lr times decay as in torch."""
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step, gradient in enumerate(g, 1):
        x = x - lr * decay * x
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        x = x - lr * (mean / (1 - beta1**step)) / (np.sqrt(square / (1 - beta2**step)) + eps)
    return x


SGD = [
    {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0},
    {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.2, "decay_biases_and_norms": True},
]


@pytest.mark.parametrize("keys", SGD)
def test_sgd_is_its_formula(keys: dict[str, Any]) -> None:
    before, after = trained({"name": "sgd", **keys})
    for name, x in before.items():
        decay = keys["weight_decay"] if name in DECAYED or keys.get("decay_biases_and_norms") else 0.0
        slopes = [gradient[name] for gradient in gradients()]
        expected = sgd(
            x, slopes, lr=keys["lr"], momentum=keys["momentum"], decay=decay, nesterov=keys.get("nesterov", False)
        )
        np.testing.assert_allclose(after[name], expected, atol=1e-6 * np.abs(expected).max(), err_msg=name)


ADAMW = [
    {"lr": 0.01, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3},
    {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-8, "decay_biases_and_norms": True},
]


@pytest.mark.parametrize("keys", ADAMW)
def test_adamw_is_its_formula(keys: dict[str, Any]) -> None:
    before, after = trained({"name": "adamw", **keys})
    numbers = {key: keys[key] for key in ("lr", "beta1", "beta2", "eps")}
    for name, x in before.items():
        decay = keys["weight_decay"] if name in DECAYED or keys.get("decay_biases_and_norms") else 0.0
        expected = adamw(x, [gradient[name] for gradient in gradients()], decay=decay, **numbers)
        np.testing.assert_allclose(after[name], expected, atol=1e-6 * np.abs(expected).max(), err_msg=name)
