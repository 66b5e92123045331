"""The step of an optimizer without torch's wrapping: the same bits, hooks heard, and no compiler imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from shoal.optim import build, step_of
from shoal.recipe import parse

TRAINING = """
import sys
import torch
from torch import nn
from shoal.optim import build, step_of
from shoal.recipe import parse
model = nn.Linear(4, 2)
part = parse({"optimizer": {"name": NAME}}).optimizer
optimizer = build(part, model, torch.device("cpu"))
step = step_of(optimizer)
for _ in range(2):
    model(torch.ones(3, 4)).sum().backward()
    step()
assert "torch._dynamo" not in sys.modules
build(part, model, torch.device("cpu")).add_param_group({"params": [nn.Parameter(torch.ones(1))]})
assert "torch._dynamo" in sys.modules  # torch's own way is as it was
"""


def pair(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    return model, build(parse({"optimizer": {"name": name}}).optimizer, model, torch.device("cpu"))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, step: Any, steps: int = 5) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 5, generator=generator)).square().sum().backward()
        step()


@pytest.mark.parametrize("name", ["sgd", "adamw", "nadam", "adafactor", "muon", "lion"])
def test_the_bits_are_those_of_the_optimizers_own_step(name: str) -> None:
    (first, one), (second, other) = pair(name), pair(name)
    train(first, one, step_of(one))
    train(second, other, other.step)
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_nothing_is_imported_for_a_compiler_that_is_not_used(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAINING.replace("NAME", repr(name))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_hooks_on_steps_are_heard() -> None:
    model, optimizer = pair("sgd")
    heard: list[str] = []
    step = step_of(optimizer)
    one = optimizer.register_step_pre_hook(lambda *_: heard.append("before"))
    train(model, optimizer, step, steps=1)
    one.remove()
    other = register_optimizer_step_post_hook(lambda *_: heard.append("after any"))
    try:
        train(model, optimizer, step, steps=1)
    finally:
        other.remove()
    train(model, optimizer, step, steps=1)
    assert heard == ["before", "after any"]


def test_a_class_of_the_users_steps_as_it_is() -> None:
    class Own(torch.optim.SGD):
        pass

    model = nn.Linear(2, 1)
    own, torchs = Own(model.parameters(), lr=0.1), torch.optim.SGD(model.parameters(), lr=0.1)
    assert step_of(own) == own.step
    assert step_of(torchs) != torchs.step
    torchs.step = lambda *_: None  # type: ignore[method-assign]
    assert step_of(torchs) is torchs.step
