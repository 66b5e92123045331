"""Models with control flow, counters and randomness of their own: what is recorded, and what runs eagerly, and why."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shoal.assembly import Workshop, from_python
from shoal.datasets import START
from shoal.recipe import parse
from shoal.training.branches import COND, branches_of

# torch's own, where torch.cond runs eagerly; it hides the warning, which here would be an error first.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")

STEPS = 12


class Network(nn.Module):
    """Two ways from the first layer to the last."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__()
        self.first = nn.Linear(input_shape[0], 6)
        self.second = nn.Linear(6, 6)
        self.output = nn.Linear(6, outputs)
        self.calls = 0

    def long(self, h: Tensor) -> Tensor:
        return self.second(h.tanh()).tanh()

    def short(self, h: Tensor) -> Tensor:
        return h.tanh()


class InPython(Network):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.output(self.long(h) if x.mean() > 0 else self.short(h))


class ByCond(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.cond(x.mean() > 0, self.long, self.short, (self.first(x),)))


class Counting(Network):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.output(self.short(self.first(x))) / self.calls


class DrawingInPython(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.first(x) * random.random())


class DrawingInNumpy(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.first(x) * float(np.random.uniform(0.5, 1.5)))


def workshop(model: type[nn.Module], **keys: Any) -> Workshop:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(160, 3)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    parts, objects = from_python(dataset={"train": (x, y)}, model=model)
    sgd = {"name": "sgd", "lr": 0.1, "momentum": 0.0}
    return Workshop(parse({"optimizer": sgd, "batch_size": 8, "budget": {"steps": 40}, **parts, **keys}), objects)


def trained(work: Workshop, execution: str) -> tuple[list[Tensor], list[str], str]:
    """Train some steps; return the weights, what was said, and which execution it was."""
    work.check()
    said: list[str] = []
    step: Any = work.stepping.step(execution, said.append)
    if step.execution != "eager":
        step.adopt()
    rows = step.upload(work.hypers.block(0, STEPS)[:, 0, :].tolist())
    for hyper, batch in zip(rows, islice(work.batches.start(START), STEPS), strict=True):
        step(batch, hyper)
    return [parameter.detach() for parameter in work.model.parameters()], said, step.execution


def test_a_branch_in_python_and_the_same_by_cond_end_at_the_same_weights() -> None:
    means = [float(batch.inputs.mean()) for batch in islice(workshop(InPython).batches.start(START), STEPS)]
    assert min(means) < 0 < max(means)  # both ways are taken
    wanted, said, execution = trained(workshop(InPython), "eager")
    assert (said, execution) == ([], "eager")
    found, said, execution = trained(workshop(ByCond), "captured")
    assert (said, execution) == ([], "captured")
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_a_branch_in_python_is_not_captured_and_its_line_is_named() -> None:
    wanted, _, _ = trained(workshop(InPython), "eager")
    found, (said,), execution = trained(workshop(InPython), "captured")
    assert execution == "eager"
    assert "Python asks for the value of a tensor in the step" in said
    assert f"({__file__}, line {InPython.forward.__code__.co_firstlineno + 2}, in forward)" in said
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_cond_is_recorded_under_any_optimizer_and_evaluates_afterwards(name: str) -> None:
    work = workshop(ByCond, optimizer={"name": name, "lr": 0.01})
    work.check()
    step = work.stepping.recorded("captured")
    step.adopt()
    assert len(branches_of(step.graph)) == 4
    assert sum(node.target is COND for node in step.graph.graph.nodes) == 2
    assert not any(unit.joined for unit in step.program.units)  # torch.cond takes no tensors that share memory
    with torch.inference_mode():
        assert work.model(torch.ones(2, 3)).shape == (2, 2)


@pytest.mark.parametrize("model", [Counting, DrawingInPython, DrawingInNumpy])
def test_what_depends_on_more_than_tensors_is_not_captured(model: type[nn.Module]) -> None:
    _, (said,), execution = trained(workshop(model), "captured")
    assert execution == "eager"
    assert said.startswith("the step cannot be captured: ")
    assert said.endswith(". It runs eagerly.")


class LooksByList(Network):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.output(self.long(h) if x.max().tolist() > 30 else self.short(h))


class LooksByMask(Network):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.output(self.long(h) if x[x > 30].numel() else self.short(h))


class LooksByArray(Network):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.output(self.long(h) if np.asarray(x.detach()).max() > 30 else self.short(h))


@pytest.mark.parametrize("model", [LooksByList, LooksByMask, LooksByArray])
def test_a_branch_that_the_first_batches_never_take_is_found(model: type[nn.Module]) -> None:
    _, (said,), execution = trained(workshop(model), "captured")
    assert execution == "eager"
    assert f"({__file__}, line {model.forward.__code__.co_firstlineno + 2}, in forward)" in said


class Keeping(Network):
    """Keeps a mean that is no buffer."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__(input_shape, outputs)
        self.mean = torch.zeros(6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
        return self.output(h.tanh())


class Tied(Network):
    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__(input_shape, outputs)
        self.third = nn.Linear(6, 6)
        self.third.weight.data = self.second.weight.data

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.third(self.long(self.first(x))))


class Storing(Network):
    """Reads what a hook put into the model itself, past any copy of it."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__(input_shape, outputs)
        self.kept: dict[str, Tensor] = {}
        self.second.register_forward_hook(lambda module, inputs, found: self.kept.update(h=found))

    def forward(self, x: Tensor) -> Tensor:
        self.second(self.first(x).tanh())
        return self.output(self.kept["h"].tanh())


class Seldom(Network):
    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__(input_shape, outputs)
        self.generator = np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.output(self.long(h) if self.generator.random() < 1e-9 else self.short(h))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Keeping, "mul_ changes a tensor that is no buffer of the model"),
        (Tied, "second.weight and third.weight are different parameters or buffers in the same memory"),
        (Storing, "reaches kept of the model itself"),
        (Seldom, "the model changes generator from step to step"),
    ],
)
def test_what_a_recording_would_train_otherwise_is_trained_as_eagerly(model: type[nn.Module], reason: str) -> None:
    wanted, _, _ = trained(workshop(model), "eager")
    found, (said,), execution = trained(workshop(model), "captured")
    assert execution == "eager"
    assert reason in said
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


MADE: list[Network] = []


class Auxiliary(Network):
    """Has a loss of its own, which the loss function reads from the model that it knows."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__(input_shape, outputs)
        self.extra = torch.zeros(())
        MADE[:] = [self]

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        self.extra = h.square().mean()
        return self.output(h.tanh())


def with_the_models_own(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets) + MADE[0].extra


def test_a_loss_that_reads_from_the_model_itself_is_not_captured() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(160, 3)).astype(np.float32), generator.integers(0, 2, 160)
    parts, objects = from_python(dataset={"train": (x, y)}, model=Auxiliary, loss=with_the_models_own)
    work = Workshop(parse({"batch_size": 8, "budget": {"steps": 40}, **parts}), objects)
    _, (said,), execution = trained(work, "captured")
    assert execution == "eager"
    assert "past the model that is trained" in said


class Embedded(Network):
    """An embedding with a norm, a GRU, attention, a mask of minus infinities, a cache that is set up once."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__(input_shape, outputs)
        self.table = nn.Embedding(20, 6, max_norm=1.0)
        self.cells = nn.GRU(6, 6, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
        self.scale: Tensor | None = None
        self.last: Tensor | None = None
        self.best = float("nan")

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = torch.tensor(0.5)
        h, _ = self.cells(self.table((x.abs() * 5).long().clamp(max=19)))
        h = self.attention(h, src_mask=self.mask)
        self.last = h.detach()
        return self.output(h[:, -1] * self.scale)


def test_an_unusual_model_that_keeps_nothing_is_captured() -> None:
    wanted, _, _ = trained(workshop(Embedded), "eager")
    found, said, execution = trained(workshop(Embedded), "captured")
    assert (said, execution) == ([], "captured")
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
