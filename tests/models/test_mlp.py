"""The multilayer perceptron: its layers, their names, and that it computes what a hand-written one does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shoal.models import Mlp


def test_it_computes_what_a_hand_written_network_does() -> None:
    torch.manual_seed(0)
    hand = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    torch.manual_seed(0)
    ours = Mlp((1, 8, 8), 10, width=64, depth=1)
    inputs = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(ours(inputs), hand(inputs), rtol=0, atol=0)


def test_depth_zero_is_a_linear_model() -> None:
    model = Mlp((7,), 3, depth=0)
    assert [type(layer) for layer in model] == [nn.Linear]
    assert model(torch.randn(2, 7)).shape == (2, 3)


def test_flat_inputs_are_not_flattened_again() -> None:
    assert not any(isinstance(layer, nn.Flatten) for layer in Mlp((7,), 3))


def test_a_norm_stands_before_the_activation_and_dropout_after_it() -> None:
    model = Mlp((7,), 3, width=5, depth=2, norm="batch", dropout=0.5, activation="gelu")
    kinds = [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Dropout]
    assert [type(layer) for layer in model] == [*kinds, *kinds, nn.Linear]


def test_names_do_not_depend_on_layers_without_weights() -> None:
    plain = Mlp((1, 8, 8), 3, depth=2)
    rich = Mlp((64,), 3, depth=2, dropout=0.5, activation="tanh")
    assert list(plain.state_dict()) == list(rich.state_dict())


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_norm_has_its_own_names(norm: str) -> None:
    assert "norm1.weight" in Mlp((7,), 3, norm=norm).state_dict()


def test_the_same_seed_gives_the_same_weights() -> None:
    torch.manual_seed(3)
    first = Mlp((7,), 3).state_dict()
    torch.manual_seed(3)
    second = Mlp((7,), 3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
