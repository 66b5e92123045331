"""State by name: it survives a checkpoint, and the optimizer goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shoal import optim
from shoal.checkpoints import newest, save
from shoal.errors import CheckpointError
from shoal.recipe.parse import parse

STEPS, SAVED_AT = 20, 10
CPU = torch.device("cpu")
Make = Callable[[nn.Module], torch.optim.Optimizer]


def recipes(name: str, **keys: Any) -> Make:
    part: Any = parse({"optimizer": {"name": name, **keys}}).optimizer
    return lambda model: optim.build(part, model, CPU)


MAKES: dict[str, Make] = {
    "sgd": recipes("sgd", weight_decay=0.1),
    "sgd without momentum": recipes("sgd", momentum=0.0),
    "adamw": recipes("adamw"),
    "not fused": lambda model: torch.optim.RMSprop(model.parameters(), momentum=0.5),
    "for loop": lambda model: torch.optim.Adam(model.parameters(), foreach=False, amsgrad=True),
}


def network(layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    return model.to(memory_format=layout)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        inputs = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        model(inputs).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["rows", "channels last"])
@pytest.mark.parametrize("name", MAKES)
def test_saved_in_the_middle_it_goes_on_bit_for_bit(name: str, layout: torch.memory_format, tmp_path: Path) -> None:
    model = network(layout)
    optimizer = MAKES[name](model)
    train(model, optimizer, 0, SAVED_AT)
    state = {"weights": model.state_dict(), "slots": optim.named_state(optimizer, model)}
    save(tmp_path, SAVED_AT, {"all": state}, {})
    train(model, optimizer, SAVED_AT, STEPS)

    loaded = newest(tmp_path)
    assert loaded is not None
    again = network(layout)
    again.load_state_dict(loaded.states["all"]["weights"])
    second = MAKES[name](again)
    optim.load_named_state(second, again, loaded.states["all"]["slots"])
    train(again, second, SAVED_AT, STEPS)
    expected, found = weights(model), weights(again)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_slots_are_addressed_by_name_under_torchs_names() -> None:
    model = network(torch.contiguous_format)
    optimizer = MAKES["adamw"](model)
    train(model, optimizer, 0, 3)
    state = optim.named_state(optimizer, model)
    assert list(state) == [name for name, _ in model.named_parameters()]
    assert all(set(slots) == {"step", "exp_avg", "exp_avg_sq"} for slots in state.values())


def test_a_parameter_in_front_does_not_move_the_others() -> None:
    """torch's own state, which numbers parameters, would hand each its neighbour's."""
    model = nn.ModuleDict({"body": nn.Linear(2, 2)})
    optimizer = MAKES["sgd"](model)
    model["body"](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = optim.named_state(optimizer, model)
    grown = nn.ModuleDict({"stem": nn.Linear(2, 2), "body": nn.Linear(2, 2)})
    second = MAKES["sgd"](grown)
    optim.load_named_state(second, grown, state)
    found = optim.named_state(second, grown)
    assert list(found) == ["body.weight", "body.bias"]
    for name, slots in state.items():
        assert torch.equal(found[name]["momentum_buffer"], slots["momentum_buffer"])


def test_what_is_put_back_is_a_copy() -> None:
    model = nn.Linear(2, 2)
    optimizer = MAKES["sgd"](model)
    saved = {"weight": {"momentum_buffer": torch.ones(2, 2)}}
    optim.load_named_state(optimizer, model, saved)
    optimizer.state[model.weight]["momentum_buffer"].zero_()
    assert saved["weight"]["momentum_buffer"].sum() == 4


def test_the_state_of_another_model_is_refused_by_name() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"the model lacks: head\.weight\."):
        optim.load_named_state(MAKES["sgd"](model), model, {"head.weight": {}})


class Counting(torch.optim.Optimizer):
    """Keeps a count and a pair in its groups, as Prodigy and the schedule-free optimizers keep their state."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1, "k": 0, "pair": (0.0, 1.0)})

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["k"] += 1
            group["pair"] = (float(group["k"]), 1.0)


def test_state_in_the_groups_is_saved_too(tmp_path: Path) -> None:
    first, second = Counting([torch.zeros(1)]), Counting([torch.zeros(1)])
    for _ in range(3):
        first.step()
    save(tmp_path, 3, {"groups": optim.group_state(first)}, {})
    loaded = newest(tmp_path)
    assert loaded is not None
    optim.load_group_state(second, loaded.states["groups"])
    assert second.param_groups[0]["k"] == 3
    assert second.param_groups[0]["pair"] == (3.0, 1.0)


def test_how_an_optimizer_is_executed_is_no_state() -> None:
    (fused,) = optim.group_state(MAKES["sgd without momentum"](nn.Linear(2, 2)))
    assert not {"fused", "foreach", "params"} & set(fused)


def test_the_groups_of_another_optimizer_are_refused() -> None:
    with pytest.raises(CheckpointError, match="has 1 parameter groups and 2 were saved"):
        optim.load_group_state(Counting([torch.zeros(1)]), [{}, {}])
