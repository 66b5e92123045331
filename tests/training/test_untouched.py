"""A model is as it was after copies of it were tried out, and what reached it is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.training.trainings import network, same, weights
from torch import nn

from shoal.training.trial import NotRecordableError
from shoal.training.untouched import untouched


def fill(model: nn.Module) -> None:
    with torch.no_grad():
        model[0].weight.fill_(3.0)


REACHED: dict[str, Callable[[nn.Module], object]] = {
    "0.weight": fill,
    "0.bias": lambda model: setattr(model[0].bias, "data", torch.zeros(10)),
    "1.running_mean": lambda model: model[1].running_mean.add_(1.0),
    "1.running_var": lambda model: setattr(model[1], "running_var", torch.zeros(10)),
    "4.weight": lambda model: setattr(model[4].weight, "grad", torch.ones(3, 10)),
    "kept": lambda model: model.kept.update(h=torch.ones(2)),
}


@pytest.mark.parametrize("name", REACHED)
def test_what_was_reached_is_put_back_and_named(name: str) -> None:
    model = network()
    model.kept = {"h": torch.zeros(2)}  # type: ignore[assignment]
    before = weights(model)
    objects = {name: (id(value), value.data_ptr()) for name, value in model.state_dict(keep_vars=True).items()}
    with pytest.raises(NotRecordableError, match=f"reaches {name} of the model itself"), untouched(model):
        REACHED[name](model)
    assert same(weights(model), before)
    assert objects == {name: (id(value), value.data_ptr()) for name, value in model.state_dict(keep_vars=True).items()}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_nothing_reached_is_left_alone_whatever_its_values() -> None:
    model = network()
    model[1].running_mean.fill_(float("nan"))
    model[4].weight.grad = gradient = torch.ones(3, 10)
    with untouched(model):
        model.eval()
        model(torch.ones(2, 6))
    assert model[4].weight.grad is gradient


def test_an_error_within_goes_on_and_all_is_put_back() -> None:
    model = network()
    before = weights(model)

    def fail() -> None:
        fill(model)
        raise KeyError("h")

    with pytest.raises(KeyError), untouched(model):
        fail()
    assert same(weights(model), before)
