"""How parameters are grouped into units, what each unit's hyperparameters are, and what a functional step leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.training.trainings import Training, network
from torch import nn

from shoal import optim
from shoal.recipe import parse
from shoal.training.capture import flat
from shoal.training.program import JOINED_NUMBERS, Unit, units_of
from shoal.training.recorded import RecordedStep
from shoal.training.step_state import cloned


def units(model: nn.Module, **keys: Any) -> list[Unit]:
    part: Any = parse({"optimizer": {"name": "adamw", "weight_decay": 0.1, **keys}}).optimizer
    groups = optim.named_groups(part, model)
    rules = {group.rest: optim.rule_of(part, rest=group.rest) for group in groups}
    assert all(rules.values())
    return units_of(model, groups, rules)  # type: ignore[arg-type]


def test_parameters_of_a_group_are_joined_end_to_end() -> None:
    model = network()
    decayed, bare = units(model)
    assert decayed.names == ("0.weight", "4.weight")
    assert set(bare.names) == {"0.bias", "1.weight", "1.bias", "4.bias"}
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    joined = decayed.join(parameters)
    assert joined.shape == (6 * 10 + 10 * 3,)
    pieces = decayed.split(joined)
    for name in decayed.names:
        assert torch.equal(pieces[name], parameters[name])
        assert pieces[name].untyped_storage().data_ptr() == joined.untyped_storage().data_ptr()
    number = torch.tensor(2.0)
    assert all(value is number for value in decayed.split(number).values())


def wide() -> nn.Module:
    return nn.Linear(JOINED_NUMBERS // 2, 3)


def channels_last() -> nn.Module:
    return nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def two_dtypes() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())


@pytest.mark.parametrize("make", [wide, channels_last, two_dtypes])
def test_what_is_large_or_lies_otherwise_is_not_joined(make: Any) -> None:
    model = make()
    found = units(model)
    assert [unit.label for unit in found] == [name for unit in found for name in unit.names]
    assert not any(unit.joined for unit in found)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    assert all(unit.join(parameters) is parameters[unit.label] for unit in found)


def test_a_rule_that_needs_matrices_gets_them_one_by_one() -> None:
    found = units(network(), name="muon")
    assert [(unit.names, unit.joined) for unit in found if not unit.group.rest] == [
        (("0.weight",), False),
        (("4.weight",), False),
    ]
    assert all(unit.joined for unit in found if unit.group.rest)


def test_multipliers_and_schedules_reach_the_units_they_are_meant_for() -> None:
    keys = {
        "optimizer": {"name": "adamw", "lr": 0.1, "weight_decay": 0.2, "lr_multipliers": ["4=0.5"],
                      "decay_multipliers": ["0.weight=3"]},
        "schedules": {"momentum": {"name": "cosine"}},
    }  # fmt: skip
    step = Training(keys).stepping.recorded("captured")
    values = {"lr": torch.tensor(0.3), "momentum": torch.tensor(0.8)}
    for unit in step.program.units:
        found = step.program._hypers(values, unit.group)
        rate = 0.15 if unit.names[0].startswith("4.") else 0.3
        decay = {"0.weight": 0.6, "4.weight": 0.2}.get(unit.names[0], 0.0)
        assert float(found["lr"]) == pytest.approx(rate)
        assert float(found["weight_decay"]) == pytest.approx(decay)
        assert found["beta1"] is values["momentum"]
        assert found["beta2"] == 0.999


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adamw", "nadam", "muon"])
def test_a_step_whose_loss_is_not_finite_leaves_weights_slots_and_clock(name: str, fused: bool) -> None:
    training = Training({"optimizer": {"name": name}}, model=nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)))
    step: RecordedStep = training.stepping.recorded("captured")
    program = step.program if fused else type(step.program)(**{**vars(step.program), "fused": False})
    state = cloned(step.state.trees)
    (batch, hyper), *_ = step.trial.batches
    tensors = step.upload([list(hyper)])[0].tensors
    program(state, batch.inputs, batch.targets, batch.index, tensors)
    assert state["clock"]["updates"] == 1
    kept = {group: tree for group, tree in state.items() if group not in ("meter", "guard", "buffers")}
    before = cloned(kept)
    program(state, batch.inputs * torch.nan, batch.targets, batch.index, tensors)
    program(state, batch.inputs, batch.targets, batch.index, tensors)  # a loss that is finite again changes nothing
    assert state["guard"]["since"] == 2
    for found, wanted in zip(flat(kept), flat(before), strict=True):
        assert torch.equal(found, wanted)


def test_the_fused_update_is_the_pure_one_to_rounding() -> None:
    training = Training({"optimizer": {"name": "adamw"}})
    step = training.stepping.recorded("captured")
    fused, pure = cloned(step.state.trees), cloned(step.state.trees)
    other = type(step.program)(**{**vars(step.program), "fused": False})
    for batch, hyper in step.trial.batches:
        tensors = step.upload([list(hyper)])[0].tensors
        for program, state in ((step.program, fused), (other, pure)):
            program(state, batch.inputs, batch.targets, batch.index, tensors)
    for group in ("clock", "slots.exp_avg_sq"):
        for name, value in pure[group].items():
            torch.testing.assert_close(fused[group][name], value, rtol=1e-4, atol=1e-7)
