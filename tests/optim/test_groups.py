"""Multipliers by pattern: what they reach, what a schedule makes of them, which patterns are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from shoal import optim
from shoal.errors import RecipeError
from shoal.optim import NamedGroup, named_groups
from shoal.recipe.parse import parse

CPU = torch.device("cpu")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 2)
        self.table = nn.Embedding(3, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


BODY, NORM, HEAD = ("body.0.weight", "body.0.bias"), ("body.1.weight", "body.1.bias"), ("head.weight", "head.bias")


def part(name: str = "sgd", **keys: Any) -> Any:
    return parse({"optimizer": {"name": name, **keys}}).optimizer


def test_where_nothing_differs_there_is_one_group() -> None:
    (only,) = named_groups(part(), Network())
    assert only == NamedGroup((*BODY, *NORM, *HEAD, "table.weight"))


def test_a_pattern_makes_a_group_of_its_own_and_the_last_that_fits_counts() -> None:
    keys = part(lr_multipliers=["head.*=10", "*.bias=2", "head.bias=3"])
    by_names = {group.names: group.lr_multiplier for group in named_groups(keys, Network())}
    assert by_names == {
        ("body.0.weight", "body.1.weight", "table.weight"): 1,
        ("body.0.bias", "body.1.bias"): 2,
        ("head.weight",): 10,
        ("head.bias",): 3,
    }


def test_a_name_stands_for_all_below_it() -> None:
    groups = named_groups(part(lr_multipliers="body=0"), Network())
    assert {group.names for group in groups if group.lr_multiplier == 0} == {(*BODY, *NORM)}


def test_a_pattern_of_decay_wins_over_what_biases_and_norms_have() -> None:
    keys = part(weight_decay=0.1, decay_multipliers=["*.bias=2", "table=0"])
    by_names = {group.names: group.decay for group in named_groups(keys, Network())}
    assert by_names == {
        ("body.0.weight", "head.weight"): 1,
        ("body.0.bias", "body.1.bias", "head.bias"): 2,
        ("body.1.weight", "table.weight"): 0,
    }


def test_groups_of_the_class_carry_what_differs_and_nothing_else() -> None:
    keys = part(lr=0.5, weight_decay=0.1, lr_multipliers="head=0.1", decay_multipliers="head.weight=3")
    groups = optim.parameter_groups(keys, Network())
    bare = [{key: value for key, value in group.items() if key != "params"} for group in groups]
    slow = {"lr": 0.05, "lr_multiplier": 0.1}
    assert bare == [
        {},
        {**slow, "weight_decay": pytest.approx(0.3), "decay_multiplier": 3},
        {"weight_decay": 0, "undecayed": True},
        {**slow, "weight_decay": 0, "undecayed": True},
    ]


def test_a_schedule_is_multiplied_too() -> None:
    keys = part(weight_decay=0.1, lr_multipliers="head=0.1", decay_multipliers="head.weight=3")
    optimizer = optim.build(keys, Network(), CPU)
    lr, decay = optim.writers(optimizer, ["lr", "weight_decay"])
    lr(2.0)
    decay(0.5)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [
        (2.0, 0.5),
        (pytest.approx(0.2), 1.5),
        (2.0, 0),
        (pytest.approx(0.2), 0),
    ]
    assert optim.base_value(optimizer, "lr") == 0.1


@pytest.mark.parametrize("name", sorted(set(optim.BUILDERS) - {"lbfgs"}))
def test_multipliers_reach_the_update_of_every_optimizer(name: str) -> None:
    """A learning rate times 0 keeps a layer where it is; Adafactor's may move by its weight decay, which is 0 too."""
    torch.manual_seed(0)
    model = Network()
    optimizer = optim.build(part(name, lr_multipliers="head=0"), model, CPU)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {*BODY, *NORM, "table.weight"}


def test_what_a_groups_rule_is_given() -> None:
    hyper = {"lr": torch.tensor(0.5), "weight_decay": torch.tensor(0.1), "momentum": 0.9}
    assert NamedGroup(("a",)).scaled(hyper) == hyper
    scaled = NamedGroup(("a",), lr_multiplier=0.1, decay=0.0).scaled(hyper)
    assert float(scaled["lr"]) == pytest.approx(0.05)
    assert scaled["weight_decay"] == 0.0
    assert not isinstance(scaled["weight_decay"], torch.Tensor), "a number, so that a rule leaves the decay out"


def test_muon_leaves_to_adamw_what_is_no_matrix() -> None:
    groups = named_groups(part("muon", exclude="head"), Network())
    rest = {name for group in groups if group.rest for name in group.names}
    assert rest == {"body.0.bias", *NORM, *HEAD, "table.weight"}


def test_the_lengths_of_weight_norm_are_no_matrix_for_muon() -> None:
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(3, 4)), parametrizations.weight_norm(nn.Conv2d(2, 4, 3))
    )
    matrices = {name for group in named_groups(part("muon"), model) if not group.rest for name in group.names}
    assert matrices == {f"{layer}.parametrizations.weight.original1" for layer in (0, 1)}


@pytest.mark.parametrize("key", ["lr_multipliers", "decay_multipliers"])
def test_a_pattern_that_fits_nothing_is_refused_with_what_there_is(key: str) -> None:
    message = (
        rf"optimizer\.{key}: the pattern 'haed\.weight' fits no parameter that is trained: did you mean "
        r"'head\.weight'\? expected the start of a name, .* fits one of body\.0\.bias, .* and 1 more\."
    )
    with pytest.raises(RecipeError, match=message):
        optim.build(part(**{key: "haed.weight=2"}), Network(), CPU)


def test_frozen_parameters_are_none_that_a_pattern_fits() -> None:
    with pytest.raises(RecipeError, match=r"the pattern 'frozen\.\*' fits no parameter that is trained"):
        named_groups(part(lr_multipliers="frozen.*=2"), Network())


def test_an_excluded_pattern_that_fits_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"optimizer\.exclude: the pattern 'output' fits no parameter"):
        named_groups(part("muon", exclude="output"), Network())


@pytest.mark.parametrize("text", ["head", "head=", "=2", "head=x", "head=-1", "head=nan", "head=inf", ""])
@pytest.mark.parametrize("key", ["lr_multipliers", "decay_multipliers"])
def test_a_malformed_multiplier_is_refused(key: str, text: str) -> None:
    with pytest.raises(RecipeError, match=rf"optimizer\.{key} = .*: expected 'PATTERN=FACTOR' .*'head\.\*=0\.1'"):
        part(**{key: [text]})


def test_lbfgs_takes_no_groups() -> None:
    for keys in ({"lr_multipliers": "head=2"}, {"decay_multipliers": "head=2"}, {"weight_decay": 0.1}):
        with pytest.raises(RecipeError, match=rf"optimizer\.{next(iter(keys))} = .*: lbfgs updates all"):
            optim.build(part("lbfgs", **keys), Network(), CPU)
