"""A bad step is found before its update, on the device, and a policy says what it leads to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.training.trainings import Training, classification, same, weights
from torch import Tensor

from shoal.errors import NonFiniteError
from shoal.tasks import Task, with_loss
from shoal.training.guard import NORMAL_STEPS, Guard, Policy
from shoal.training.meter import Measured

CPU = torch.device("cpu")


def loss(value: float = 1.0, size: int = 4) -> list[Measured]:
    """One batch of losses whose mean is `value`."""
    return [Measured(torch.tensor(value * size, dtype=torch.float64), {}, size)]


def pass_step(guard: Guard, value: float = 1.0, grad: float = 1.0, *, pure: bool = False) -> float:
    """One step of a guard; return whether its update must not be made."""
    guard.begin()
    guard.look([part.loss for part in loss(value)], [torch.ones(3), torch.tensor([1.0, grad])], pure=pure)
    guard.conclude(loss(value))
    return guard.found.item()


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["value", "grad"])
def test_a_number_that_is_not_finite_is_found_and_nothing_is_changed(where: str, bad: float, pure: bool) -> None:
    guard, grads = Guard(Policy(), CPU), [torch.randn(5), torch.randn(2, 3)]
    before = [grad.clone() for grad in grads]
    guard.look([torch.tensor(1.0, dtype=torch.float64)], grads, pure=pure)
    assert guard.found.item() == 0
    assert all(torch.equal(*pair) for pair in zip(grads, before, strict=True))
    assert pass_step(guard, **{where: bad}, pure=pure) == 1


@pytest.mark.parametrize("at", [0, 99_999])
def test_a_number_is_found_in_a_large_gradient_too(at: int) -> None:
    guard, gradient = Guard(Policy(), CPU), torch.randn(100_000)
    guard.look([torch.tensor(1.0, dtype=torch.float64)], [gradient])
    assert guard.found.item() == 0
    gradient[at] = math.nan
    guard.look([torch.tensor(1.0, dtype=torch.float64)], [gradient])
    assert guard.found.item() == 1


def test_under_stop_no_update_is_made_from_the_first_bad_step_on() -> None:
    guard = Guard(Policy("stop"), CPU)
    flag = guard.found
    assert [pass_step(guard, value) for value in (1.0, 2.0, math.nan, 1.0, 1.0)] == [0, 0, 1, 1, 1]
    assert guard.found is flag, "optimizers hold it"
    bad = guard.bad(5, loss=torch.tensor(math.nan))
    assert bad is not None
    assert (bad.step, bad.cause) == (3, "loss")


def test_a_gradient_is_told_from_a_loss() -> None:
    guard = Guard(Policy("rewind"), CPU)
    assert [pass_step(guard, grad=grad) for grad in (1.0, math.inf)] == [0, 1]
    bad = guard.bad(2, loss=torch.tensor(3.0))
    assert bad is not None
    assert (bad.step, bad.cause) == (2, "gradient")
    assert bad.said == "the gradient at step 2 is not finite, although the loss is"


def test_under_skip_only_bad_steps_make_no_update_until_there_are_too_many_in_a_row() -> None:
    guard = Guard(Policy("skip", limit=2), CPU)
    values = [1.0, math.nan, math.nan, 1.0, math.nan, 1.0]
    assert [pass_step(guard, value) for value in values] == [0, 1, 1, 0, 1, 0]
    assert guard.counts["skipped"].item() == 3
    assert guard.skips(6) == (3, 5)
    assert guard.bad(6, loss=torch.tensor(1.0)) is None
    assert [pass_step(guard, value) for value in (math.nan, math.nan, math.nan, 1.0)] == [1, 1, 1, 1]
    bad = guard.bad(10, loss=torch.tensor(1.0))
    assert bad is not None
    assert bad.step == 9


@pytest.mark.parametrize("action", ["stop", "skip"])
def test_a_loss_that_leaps_is_found_in_its_step_and_is_no_part_of_what_is_normal(action: Any) -> None:
    guard = Guard(Policy(action, spike=6.0), CPU)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        assert pass_step(guard, 1 + 0.1 * torch.randn((), generator=generator).item()) == 0
    mean, deviation = guard.counts["mean"].item(), guard.counts["variance"].sqrt().item()
    assert mean == pytest.approx(1.0, abs=0.05)
    assert deviation == pytest.approx(0.1, rel=0.3)
    assert pass_step(guard, 100.0) == 1
    assert pass_step(guard, math.nan) == 1
    assert guard.counts["mean"].item() == mean
    assert pass_step(guard, 1.0) == (action == "stop")
    if action == "stop":
        bad = guard.bad(53, loss=torch.tensor(1.0))
        assert bad is not None
        assert (bad.step, bad.cause) == (51, "leap")


def test_no_loss_is_a_leap_before_there_is_a_recent_mean_nor_one_that_falls() -> None:
    guard = Guard(Policy("skip", spike=3.0), CPU)
    assert [pass_step(guard, 10.0**number) for number in range(NORMAL_STEPS - 5)] == [0] * (NORMAL_STEPS - 5)
    guard = Guard(Policy("skip", spike=3.0), CPU)
    assert [pass_step(guard, 1000 - number) for number in range(100)] == [0] * 100


@pytest.mark.parametrize("policy", [Policy(), Policy("skip", limit=3), Policy("skip", spike=4.0)], ids=str)
def test_what_is_counted_is_saved(policy: Policy) -> None:
    guard, other = Guard(policy, CPU), Guard(policy, CPU)
    for value in (1.0, 1.1, 0.9, 1.0):
        pass_step(guard, value)
    pass_step(other, 7.0)
    other.load_state_dict({name: value.clone() for name, value in guard.state_dict().items()})
    rest = [1.0, 1.2, math.nan] if policy.skips else [1.0, 1.2]
    assert [pass_step(guard, value) for value in rest] == [pass_step(other, value) for value in rest]
    assert all(torch.equal(value, other.counts[name]) for name, value in guard.counts.items())


def test_what_was_skipped_is_counted_on_the_device_with_the_last_of_it() -> None:
    guard = Guard(Policy("skip", limit=9), CPU)
    seen = []
    for step, value in enumerate((1.0, math.nan, 1.0, 1.0, math.nan, math.nan, 1.0), 1):
        pass_step(guard, value)
        seen.append(guard.skips(step))
    assert seen == [None, (1, 2), (1, 2), (1, 2), (2, 5), (3, 6), (3, 6)]
    assert Guard(Policy("stop"), CPU).skips(3) is None


def steps(training: Training, count: int) -> None:
    """Perform the first steps of a training, without anything else that a loop does."""
    rows = training.engine.upload(training.hypers.block(0, count))
    for hyper, batch in zip(rows, training.batches.start(), strict=False):
        training.engine.step(batch, hyper)


def poisoned(bad: set[int], kind: str) -> Task:
    """A classification whose loss, or whose gradient alone, is not finite at some steps, from 1."""
    task, calls = classification(), 0

    def poison(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += torch.is_grad_enabled()
        losses = task.loss(outputs, targets)
        if calls not in bad or not torch.is_grad_enabled():
            return losses
        if kind == "loss":
            return losses * math.nan
        return losses + (outputs.sum(1) * 0.0).sqrt()  # 0, and its derivative is 0 times infinity

    return with_loss(task, poison)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon", "schedule_free"])
def test_training_stops_before_the_update_of_a_bad_step(optimizer: str, kind: str) -> None:
    keys = {"optimizer": {"name": optimizer}}
    training, expected = Training(keys, task=poisoned({4}, kind)), Training(keys)
    steps(expected, 3)
    steps(training, 6)
    parameters = {name: p.detach() for name, p in expected.model.named_parameters()}
    assert same({name: p.detach() for name, p in training.model.named_parameters()}, parameters)
    (bad,) = training.engine.bad_steps()
    assert bad is not None
    assert (bad.step, bad.cause) == (4, kind)
    with pytest.raises(NonFiniteError, match=rf"^the {kind} at step 4 is not finite") as raised:
        Training(keys, task=poisoned({4}, kind)).fit()
    assert raised.value.step == 4


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_one_bad_step_is_skipped_as_if_it_had_not_been(kind: str) -> None:
    keys = {"guard": {"action": "skip"}}
    training = Training(keys, task=poisoned({4}, kind))
    batches = training.batches.start()
    rows = training.engine.upload(training.hypers.block(0, 6))
    for number, (hyper, batch) in enumerate(zip(rows, batches, strict=False), 1):
        before = {name: value.clone() for name, value in weights(training.model).items()}
        training.engine.step(batch, hyper)
        assert same(before, weights(training.model)) == (number == 4), "batch norm's statistics too"
    assert training.engine.bad_steps() == [None]
    (found,) = training.engine.drain()
    assert found["skipped"] == pytest.approx(1 / 6)
    assert all(math.isfinite(value) for value in found.values())


def test_training_goes_on_over_bad_steps_and_stops_at_too_many_in_a_row() -> None:
    ending = Training({"guard": {"action": "skip", "limit": 2}}, task=poisoned({2, 3, 7}, "loss")).fit()
    assert ending.kind == "budget"
    with pytest.raises(NonFiniteError, match=r"^the loss at step 4 is not finite"):
        Training({"guard": {"action": "skip", "limit": 2}}, task=poisoned({2, 3, 4}, "loss")).fit()


@pytest.mark.parametrize("execution", ["eager", "captured"])
@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("action", ["stop", "skip"])
def test_bad_examples_are_found_by_every_execution_in_any_part_of_a_batch(
    action: str, accumulate: int, execution: str
) -> None:
    keys = {"guard": {"action": action}, "accumulate": accumulate}
    training = Training(keys, execution=execution)
    batches = training.batches.start()
    rows = training.engine.upload(training.hypers.block(0, 5))
    states: list[dict[str, Tensor]] = []
    for number, (hyper, batch) in enumerate(zip(rows, batches, strict=False), 1):
        if number == 3:
            batch.inputs[7, 0] = float("nan")  # the last part of it
        training.engine.step(batch, hyper)
        states.append({name: p.detach().clone() for name, p in training.model.named_parameters()})
    assert same(states[1], states[2])
    assert same(states[2], states[3]) == (action == "stop")
    assert [bad and bad.step for bad in training.engine.bad_steps()] == [3 if action == "stop" else None]
    assert all(bool(value.isfinite().all()) for value in weights(training.model).values()) or action == "stop"
