"""The eager step: accumulation, SAM, clipping, the loss scale and L-BFGS, each against a loop written by hand."""

from __future__ import annotations

import copy
import math
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.trainings import SGD, Training, classification, network, same, weights
from torch import Tensor, nn

from shoal.checkpoints import plain
from shoal.errors import NonFiniteError
from shoal.tasks import Task, with_loss
from shoal.training.eager import EagerStep


def eager(training: Training) -> EagerStep:
    assert isinstance(training.step, EagerStep)
    return training.step


def steps(training: Training, count: int) -> None:
    rows = training.engine.upload(training.hypers.block(0, count))
    for hyper, batch in zip(rows, training.batches.start(), strict=False):
        training.engine.step(batch, hyper)


def without_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3))


@pytest.mark.parametrize("scalar", [False, True], ids=["a loss an example", "one loss"])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulation_is_the_whole_batch_without_batch_norm(parts: int, scalar: bool) -> None:
    task = with_loss(classification(), nn.functional.cross_entropy) if scalar else classification()
    whole, cut = (Training({"accumulate": count}, model=without_norm(), task=task) for count in (1, parts))
    for training in (whole, cut):
        steps(training, 8)
    for name, value in weights(whole.model).items():
        torch.testing.assert_close(weights(cut.model)[name], value, rtol=1e-5, atol=1e-7, msg=name)
    assert cut.engine.drain()[0] == pytest.approx(whole.engine.drain()[0], rel=1e-6)


def nan_in(call: int) -> Task:
    """Cross entropy that is NaN in one of its calls, from 1."""
    task, calls = classification(), 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return task.loss(outputs, targets) * (math.nan if calls == call else 1.0)

    return with_loss(task, loss)


@pytest.mark.parametrize("call", [17, 18, 20])
def test_a_part_whose_loss_is_not_finite_spoils_its_step_and_that_step_is_told(call: int) -> None:
    training, expected = (Training({"accumulate": 4}, model=without_norm(), task=nan_in(at)) for at in (call, 0))
    steps(expected, 4)
    steps(training, 7)
    assert training.engine.bad_steps() == [5]
    assert same(weights(training.model), weights(expected.model))


def test_sam_is_its_algorithm_and_batch_norms_see_each_batch_once() -> None:
    rho = 0.1
    training = Training({"regularise": {"sam": rho}, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}})
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    own = list(model.parameters())
    for _, batch in zip(range(6), training.batches.start(), strict=False):
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
        statistics = {name: value.clone() for name, value in model.named_buffers()}
        before = [p.detach().clone() for p in own]
        norm = torch.stack([p.grad.norm() for p in own if p.grad is not None]).norm()
        with torch.no_grad():
            for p in own:
                assert p.grad is not None
                p.add_(rho * p.grad / norm)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
        with torch.no_grad():
            for p, value in zip(own, before, strict=True):
                p.copy_(value)
            for name, value in model.named_buffers():
                value.copy_(statistics[name])
        optimizer.step()
        optimizer.zero_grad()
    steps(training, 6)
    for name, value in weights(model).items():
        torch.testing.assert_close(weights(training.model)[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert training.model[1].num_batches_tracked == 6  # type: ignore[index]


def test_clipping_is_torchs_and_tells_the_norm_in_rows() -> None:
    training = Training({"regularise": {"clip_norm": 0.5}, "optimizer": SGD, "log": {"every": 3}})
    model = network()
    by_hand = torch.optim.SGD(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1]},
            {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=0.1,
        momentum=0.9,
        weight_decay=0.01,
    )
    norms: list[float] = []
    for _, batch in zip(range(12), training.batches.start(), strict=False):
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        by_hand.step()
        by_hand.zero_grad()
    training.fit()
    for name, value in weights(model).items():
        torch.testing.assert_close(weights(training.model)[name], value, rtol=1e-4, atol=1e-6, msg=name)
    for number, row in enumerate(training.recorder.written):
        three = norms[3 * number : 3 * number + 3]
        assert row.metrics["train.grad_norm"] == pytest.approx(sum(three) / 3, rel=1e-4)
        assert row.metrics["train.clipped"] == pytest.approx(sum(norm > 0.5 for norm in three) / 3)
    assert len(training.recorder.written) == 4


def test_values_are_clipped_before_the_update() -> None:
    training = Training({"regularise": {"clip_value": 1e-3}, "optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.0}})
    before = {name: p.detach().clone() for name, p in training.model.named_parameters()}
    steps(training, 1)
    moved = [(p.detach() - before[name]).abs().max().item() for name, p in training.model.named_parameters()]
    assert max(moved) == pytest.approx(1e-3, rel=1e-3)


LARGE = 50.0
"""What a loss is multiplied by so that its gradient overflows in fp16 under the first scale, and not for long."""


def fp16(optimizer: dict[str, Any] = SGD, **regularise: Any) -> Training:
    task = classification()
    large = with_loss(task, lambda outputs, targets: LARGE * task.loss(outputs, targets))
    keys = {"precision": "fp16", "optimizer": {**optimizer, "lr": 1e-3}, "regularise": regularise}
    return Training(keys, model=without_norm(), task=large)


def slots(training: Training) -> list[Tensor]:
    named = training.engine.state_dict()["optimizer"]
    return [value.clone() for own in named.values() for value in own.values() if isinstance(value, Tensor)]


@pytest.mark.parametrize("keys", [{}, {"clip_norm": 1.0}, {"clip_percentile": 50.0}, {"sam": 0.05}], ids=str)
@pytest.mark.parametrize("name", ["sgd", "adamw", "nadam", "lion"])
def test_a_step_that_overflows_is_skipped_and_counted(name: str, keys: dict[str, Any]) -> None:
    training = fp16({"name": name}, **keys)
    scale = eager(training).scale
    assert scale is not None
    batches = training.batches.start()
    rows = training.engine.upload(training.hypers.block(0, 12))
    skipped = 0
    for hyper in rows:
        before, kept, factor = weights(training.model), slots(training), scale.scale.item()
        training.engine.step(next(batches), hyper)
        if scale.scale.item() < factor:
            skipped += 1
            assert same(weights(training.model), before)
            assert not kept or all(torch.equal(a, b) for a, b in zip(kept, slots(training), strict=True))
        else:
            assert not same(weights(training.model), before)
        assert scale.skipped.item() == skipped
    assert 0 < skipped < 12
    assert training.engine.bad_steps() == [None]
    found = training.engine.drain()[0]
    assert all(math.isfinite(value) for value in found.values()), found


def test_a_loss_scale_is_saved() -> None:
    first, second = fp16(), fp16()
    steps(first, 8)
    state = plain(first.engine.state_dict())
    assert state["scale"]["skipped"] > 0
    second.engine.load_state_dict(state)
    assert eager(second).scale is not None
    assert plain(eager(second).scale.state_dict()) == state["scale"]  # type: ignore[union-attr]


def lbfgs(task: Task | None = None, **keys: Any) -> Training:
    optimizer = {"name": "lbfgs", "lr": 1.0, "line_search": "strong_wolfe", **keys}
    return Training({"optimizer": optimizer}, model=without_norm(), task=task or classification())


def test_lbfgs_reduces_the_loss_of_its_batch_and_is_measured_where_a_step_begins() -> None:
    training = lbfgs()
    batch = next(training.batches.start())
    (hyper,) = training.engine.upload(training.hypers.block(0, 1))
    losses: list[float] = []
    for _ in range(6):
        with torch.no_grad():
            present = nn.functional.cross_entropy(training.model(batch.inputs), batch.targets).item()
        training.engine.step(batch, hyper)
        losses.append(training.engine.drain()[0]["loss"])
        assert losses[-1] == pytest.approx(present, rel=1e-5)
    assert losses[-1] < 0.01 < losses[0]
    assert all(later <= sooner for sooner, later in pairwise(losses))
    assert all(p.grad is None for p in training.model.parameters())


def test_lbfgs_in_parts_takes_the_steps_of_the_whole() -> None:
    optimizer = {"name": "lbfgs", "lr": 0.5, "iterations": 3}  # rounding grows with every iteration
    whole, cut = (Training({"optimizer": optimizer, "accumulate": parts}, model=without_norm()) for parts in (1, 2))
    for training in (whole, cut):
        steps(training, 2)
    for name, value in weights(whole.model).items():
        assert not torch.equal(value, weights(without_norm())[name])
        torch.testing.assert_close(weights(cut.model)[name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert cut.engine.drain()[0] == pytest.approx(whole.engine.drain()[0], rel=1e-4)


def test_a_loss_of_lbfgs_that_is_not_finite_leaves_the_weights_and_ends_the_run() -> None:
    task = classification()
    poisoned = False

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return task.loss(outputs, targets) * (math.nan if poisoned else 1.0)

    training = lbfgs(with_loss(task, loss))
    steps(training, 1)
    before = copy.deepcopy(weights(training.model))
    poisoned = True
    steps(training, 1)
    assert same(weights(training.model), before)
    assert training.engine.bad_steps() == [2]
    with pytest.raises(NonFiniteError, match="the loss at step 1 is not finite"):
        lbfgs(with_loss(task, loss)).fit()


class Noisy(nn.Module):
    """Draws from every generator, and moves a buffer on which its outputs depend; what it saw is written down."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.register_buffer("moving", torch.ones(()))
        self.seen: list[tuple[float, ...]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append((float(self.moving), random.random(), np.random.random(), torch.rand(()).item()))
        self.moving.mul_(2.0)
        return self.linear(inputs) * self.seen[-1][-1]


@pytest.mark.parametrize("parts", [1, 2])
def test_every_evaluation_of_a_step_of_lbfgs_is_of_one_function(parts: int) -> None:
    torch.manual_seed(0)
    model, evaluations = Noisy(), list[int]()
    keys = {"optimizer": {"name": "lbfgs", "lr": 0.1, "iterations": 4}, "accumulate": parts}
    training = Training(keys, model=model)
    rows = training.engine.upload(training.hypers.block(0, 3))
    for number, (hyper, batch) in enumerate(zip(rows, training.batches.start(), strict=False), 1):
        begins = len(model.seen)
        training.engine.step(batch, hyper)
        drawn = model.seen[begins:]
        evaluations.append(len(drawn) // parts)
        assert drawn == drawn[:parts] * evaluations[-1]
        assert float(model.moving) == 2.0 ** (parts * number)
    assert min(evaluations) > 1
    draws = {number for _, *drawn in model.seen for number in drawn}
    assert len(draws) == 3 * 3 * parts, "each step draws anew"


def test_batch_norms_see_the_batch_of_a_step_of_lbfgs_once() -> None:
    training = Training({"optimizer": {"name": "lbfgs", "lr": 0.1, "iterations": 4}}, model=network(0.5))
    expected = copy.deepcopy(training.model)
    batch = next(training.batches.start())
    (hyper,) = training.engine.upload(training.hypers.block(0, 1))
    training.engine.step(batch, hyper)
    expected(batch.inputs)
    found, wanted = dict(training.model.named_buffers()), dict(expected.named_buffers())
    assert same(found, wanted)
    assert found["1.num_batches_tracked"] == 1
