"""Schedule-free: the average that counts is there at any time, and nothing has to be switched for it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from tests.numerics.formulas import schedule_free_points
from torch import nn

from shoal import optim
from shoal.errors import RecipeError
from shoal.recipe.parse import parse

CPU = torch.device("cpu")


def built(model: nn.Module, **keys: Any) -> torch.optim.Optimizer:
    return optim.build(parse({"optimizer": {"name": "schedule_free", **keys}}).optimizer, model, CPU)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 10) -> list[np.ndarray]:
    given = [np.random.default_rng(step).normal(size=(2, 3)) for step in range(steps)]
    for gradient in given:
        model.weight.grad = torch.as_tensor(gradient, dtype=torch.float32)
        optimizer.step()
    return given


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2, bias=False)


@pytest.mark.parametrize("keys", [{"lr": 0.02, "weight_decay": 0.1}, {"base": "sgd", "lr": 0.2, "momentum": 0.7}])
def test_the_average_is_the_formulas(keys: dict[str, Any]) -> None:
    model = layer()
    before = model.weight.detach().double().numpy().copy()
    optimizer = built(model, **keys)
    given = train(model, optimizer)
    everything = parse({"optimizer": {"name": "schedule_free", **keys}}).optimizer.model_dump()
    trained, average = schedule_free_points(before, given, everything)
    found = optim.point_average(optimizer, model)
    assert found is not None
    np.testing.assert_allclose(model.weight.detach().numpy(), trained, atol=1e-6)
    np.testing.assert_allclose(found["weight"].numpy(), average, atol=1e-6)
    assert not np.allclose(trained, average, atol=1e-4)


def test_the_average_changes_neither_mode_nor_weights_and_is_what_eval_would_show() -> None:
    model = layer()
    optimizer: Any = built(model)
    train(model, optimizer)
    before = model.weight.detach().clone()
    average: Any = optim.point_average(optimizer, model)
    assert torch.equal(model.weight, before)
    assert optimizer.param_groups[0]["train_mode"]
    optimizer.eval()
    assert torch.equal(average["weight"], model.weight.detach())
    in_eval: Any = optim.point_average(optimizer, model)
    assert torch.equal(in_eval["weight"], average["weight"])
    in_eval["weight"].zero_()
    assert model.weight.any(), "what is returned is new"


def test_before_the_first_step_the_average_is_the_weights() -> None:
    model = layer()
    average: Any = optim.point_average(built(model), model)
    assert torch.equal(average["weight"], model.weight.detach())


def test_other_optimizers_have_no_average() -> None:
    model = layer()
    assert optim.point_average(torch.optim.SGD(model.parameters()), model) is None
    assert not optim.is_averaging(torch.optim.SGD(model.parameters()))


def test_a_warm_up_of_the_learning_rate_weighs_the_average() -> None:
    """The weights of the average follow the largest rate so far: what was slow counts for little."""
    model = layer()
    optimizer = built(model, lr=0.1)
    (write,) = optim.writers(optimizer, ["lr"])
    write(0.001)
    train(model, optimizer, 1)
    write(0.1)
    train(model, optimizer, 1)
    assert optimizer.param_groups[0]["weight_sum"] == pytest.approx(0.001**2 + 0.1**2)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(RecipeError, match=r"optimizer\.name = schedule_free: .*pip install 'shoal\[schedulefree\]'"):
        built(layer())
