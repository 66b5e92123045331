"""Scheduled hyperparameters reach the parameter groups, each under its own name there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from shoal import optim
from shoal.errors import RecipeError
from shoal.recipe.parse import parse


def built(name: str, **keys: Any) -> torch.optim.Optimizer:
    part: Any = parse({"optimizer": {"name": name, **keys}}).optimizer
    return optim.build(part, nn.Linear(3, 2), torch.device("cpu"))


def write(optimizer: torch.optim.Optimizer, **values: float) -> None:
    for writer, value in zip(optim.writers(optimizer, values), values.values(), strict=True):
        writer(value)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_lr_reaches_every_group(name: str) -> None:
    optimizer = built(name, weight_decay=0.1)
    write(optimizer, lr=0.375)
    assert [group["lr"] for group in optimizer.param_groups] == [0.375, 0.375]


def test_momentum_is_sgds_momentum_and_adams_beta1() -> None:
    sgd, adamw = built("sgd"), built("adamw", beta2=0.99)
    write(sgd, momentum=0.5)
    write(adamw, momentum=0.5)
    assert sgd.param_groups[0]["momentum"] == 0.5
    assert {group["betas"] for group in adamw.param_groups} == {(0.5, 0.99)}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_leaves_biases_and_norms_at_zero(name: str) -> None:
    optimizer = built(name, weight_decay=0.1)
    write(optimizer, weight_decay=0.05)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0]


def test_weight_decay_reaches_all_where_all_are_decayed() -> None:
    optimizer = built("sgd", weight_decay=0.1, decay_biases_and_norms=True)
    write(optimizer, weight_decay=0.05)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05]


def test_what_is_written_is_what_the_next_step_uses() -> None:
    optimizer = built("sgd", momentum=0.0)
    (weight, _) = optimizer.param_groups[0]["params"]
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    write(optimizer, lr=0.5)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before - 0.5, rtol=0, atol=0)


def test_base_values_are_those_it_was_built_with() -> None:
    sgd, adamw = built("sgd", lr=0.2, momentum=0.8), built("adamw", beta1=0.7, weight_decay=0.3)
    assert [optim.base_value(sgd, name) for name in ("lr", "momentum", "weight_decay")] == [0.2, 0.8, 0]
    assert [optim.base_value(adamw, name) for name in ("lr", "momentum", "weight_decay")] == [0.001, 0.7, 0.3]


def test_a_schedule_of_what_an_optimizer_lacks_is_refused_with_what_it_has() -> None:
    optimizer = torch.optim.Adagrad([nn.Parameter(torch.zeros(1))])
    message = r"schedules\.momentum: Adagrad has no momentum to schedule; it has: lr, weight_decay\. Leave out"
    with pytest.raises(RecipeError, match=message):
        optim.writers(optimizer, ["lr", "momentum"])
    with pytest.raises(RecipeError, match=message):
        optim.base_value(optimizer, "momentum")
    with pytest.raises(RecipeError, match=r"schedules\.momentum: adagrad has no momentum"):
        optim.base_value(optimizer, "momentum", called="adagrad")
