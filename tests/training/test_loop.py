"""The loop: what a hand-written one computes, bit for bit; what it says when; where and how it ends."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.training.trainings import Training, classification, network, same, weights
from torch import Tensor, nn

from shoal import rng
from shoal.datasets import START, Batch, Batches, Origin, Position
from shoal.errors import NonFiniteError, TrainingError
from shoal.tasks import with_loss
from shoal.training import BestWeights, Ending, Pulse

STEPS = 18


def by_hand(model: nn.Module, training: Training, *, mean: bool) -> None:
    """Three epochs of the loop that one would write, over the same batches."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    seeds = rng.StepSeeds(0)
    for step, batch in zip(range(STEPS), training.batches.start(), strict=False):
        torch.manual_seed(seeds.at(step))
        outputs = model(batch.inputs)
        if mean:
            loss = nn.functional.cross_entropy(outputs, batch.targets)
        else:
            loss = nn.functional.cross_entropy(outputs, batch.targets, reduction="none").mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("mean", [False, True], ids=["mean of losses", "mean in the loss"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_it_equals_a_hand_written_loop_bit_for_bit(dropout: float, mean: bool) -> None:
    keys = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "budget": {"epochs": 3}}
    task = with_loss(classification(), lambda o, t: nn.functional.cross_entropy(o, t)) if mean else classification()
    training, ours = Training(keys, model=network(dropout), task=task, valid=not mean), network(dropout)
    assert training.fit() == Ending(Position(3, 0, STEPS), "budget", "the budget is spent")
    by_hand(ours, training, mean=mean)
    assert same(weights(training.model), weights(ours))


def test_rows_are_written_at_evaluations_with_what_was_measured() -> None:
    training = Training({"schedules": {"lr": {"name": "cosine"}, "momentum": {"warmup_steps": 4}}})
    training.fit()
    assert [row.step for row in training.recorder.written] == [6, 12]
    assert [row.epoch for row in training.recorder.written] == [1.0, 2.0]
    first, last = training.recorder.written
    assert list(first.metrics) == [
        "lr", "momentum", "train.loss", "train.accuracy", "valid.loss", "valid.accuracy",
    ]  # fmt: skip
    assert first.metrics["lr"] == pytest.approx(0.1 * (1 + math.cos(math.pi * 5 / 12)) / 2, rel=1e-12)
    assert last.metrics["momentum"] == 0.9
    assert all(type(value) is float for value in first.metrics.values())


def test_train_metrics_are_means_since_the_row_before() -> None:
    often, seldom = Training({"log": {"every": 2}}), Training()
    often.fit()
    seldom.fit()
    assert [row.step for row in often.recorder.written] == [2, 4, 6, 8, 10, 12]
    assert ["valid.loss" in row.metrics for row in often.recorder.written] == [False, False, True] * 2
    for epoch, row in enumerate(seldom.recorder.written):
        parts = often.recorder.written[3 * epoch : 3 * epoch + 3]
        mean = sum(part.metrics["train.loss"] for part in parts) / 3
        assert row.metrics["train.loss"] == pytest.approx(mean, rel=1e-12)
        assert row.metrics["valid.loss"] == parts[-1].metrics["valid.loss"]


def test_a_row_every_step_changes_no_weights() -> None:
    every, none = Training({"log": {"every": 1}}, model=network(0.5)), Training(model=network(0.5))
    every.fit()
    none.fit()
    assert [row.step for row in every.recorder.written] == list(range(1, 13))
    assert same(weights(every.model), weights(none.model))


def test_hypers_are_uploaded_by_blocks_and_not_by_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training({"log": {"every": 1}})
    uploads: list[int] = []
    original = training.engine.upload
    monkeypatch.setattr(training.engine, "upload", lambda block: uploads.append(len(block)) or original(block))
    training.fit()
    assert uploads == [12]


@pytest.mark.parametrize(("block", "steps"), [(5, 12), (12, 12), (1, 12)])
def test_blocks_of_hypers_change_nothing(block: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"schedules": {"lr": {"name": "cosine", "warmup_steps": 3}}}
    whole, cut = Training(keys), Training(keys)
    whole.fit()
    monkeypatch.setattr("shoal.training.loop.BLOCK", block)
    cut.fit()
    assert cut.final_bytes() == whole.final_bytes()


def test_checkpoints_are_saved_when_due_and_at_the_end_once() -> None:
    training = Training({"checkpoint": {"every": 0.75}})
    saved: list[int] = []
    original = training.recorder.save
    training.recorder.save = lambda *a: saved.append(a[1].step) or original(*a)  # type: ignore[method-assign]
    training.fit()
    assert saved == [4, 9, 12]
    assert [training.recorder.saves[step][0] for step in saved] == [
        Position(0, 4, 4), Position(1, 3, 9), Position(2, 0, 12),
    ]  # fmt: skip


class Clock:
    """Seconds that pass with every look at the clock."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@pytest.mark.parametrize("log", [None, 1])
def test_the_clock_ticks_however_short_the_stretches_between_rows_are(log: int | None) -> None:
    """Were each stretch to start the interval anew, a training with a row a step would never save by the clock."""
    training = Training({"log": {"every": log}, "budget": {"epochs": 20}})
    training.pulse = Pulse(seconds=1.0, clock=Clock(tick=0.03))
    training.recorder.wants_save = True
    training.fit()
    ticks = training.recorder.ticks
    assert len(ticks) >= 3
    assert set(ticks) | {120} == set(training.recorder.saves)
    assert max(later - sooner for sooner, later in zip([0, *ticks], ticks, strict=False)) < 60


def test_looking_up_from_the_steps_changes_nothing() -> None:
    calm, busy = Training(model=network(0.5), watch=True), Training(model=network(0.5), watch=True)
    busy.pulse = Pulse(seconds=0.0)
    calm.fit()
    busy.fit()
    assert busy.recorder.ticks == list(range(1, 13))
    assert busy.final_bytes() == calm.final_bytes()
    assert busy.recorder.written == calm.recorder.written


def interrupt_in(training: Training, place: str, step: int) -> None:
    """Ask for a stop when `place` (step, evaluate, rows, save, tick) is at a step, as a signal would."""
    owner: Any = training.engine if place in ("step", "evaluate") else training.recorder
    original: Callable[..., Any] = getattr(owner, place)

    def asking(*arguments: Any, **keywords: Any) -> Any:
        if training.engine.steps >= step and training.pulse.asked is None:
            training.pulse.ask("SIGTERM")
        return original(*arguments, **keywords)

    setattr(owner, place, asking)


@pytest.mark.parametrize(
    ("place", "step", "ends"),
    [("step", 0, 1), ("step", 7, 8), ("evaluate", 6, 6), ("rows", 6, 6), ("save", 3, 3), ("step", 11, 12)],
)
def test_interrupted_anywhere_it_saves_and_says_so_and_resumes_to_the_same_end(
    place: str, step: int, ends: int
) -> None:
    keys = {"checkpoint": {"every": 0.5}}
    alone = Training(keys, model=network(0.5), watch=True)
    alone.fit()
    stopped = Training(keys, model=network(0.5), watch=True)
    interrupt_in(stopped, place, step)
    ending = stopped.fit()
    assert ending.kind == "interrupted"
    assert ending.reason == f"stopped by SIGTERM at step {ends}"
    assert ending.at.step == ends
    assert stopped.recorder.saves[ends][0] == ending.at

    again = Training(keys, model=network(0.5), watch=True)
    again.resume(stopped.recorder, ends)
    assert again.fit().kind == "budget"
    assert again.recorder.written == alone.recorder.written
    if again.recorder.saves:
        assert again.final_bytes() == alone.final_bytes()
    else:
        assert stopped.final_bytes() == alone.final_bytes()


class Awaited:
    """Batches one of which comes after a signal; `late` says that it is still given by code that caught everything."""

    def __init__(self, batches: Batches, step: int, *, late: bool) -> None:
        self.batches, self.step, self.late, self.per_epoch = batches, step, late, batches.per_epoch

    def start(self, at: Position = START) -> Iterator[Batch]:
        for batch in self.batches.start(at):
            if batch.position.step == self.step:
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(10)
                except BaseException:
                    if not self.late:
                        raise
            yield batch


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("step", [3, 6, 7])
def test_a_signal_does_not_wait_for_a_batch_and_the_batch_is_not_trained_on(step: int, late: bool) -> None:
    keys = {"checkpoint": {"every": 0.5}, "log": {"every": 2}}
    alone, stopped, again = (Training(keys, model=network(0.5), watch=True) for _ in range(3))
    alone.fit()
    stopped.batches = Awaited(stopped.batches, step, late=late)  # type: ignore[assignment]
    with stopped.pulse.listening():
        ending = stopped.fit()
    assert (ending.kind, ending.at.step) == ("interrupted", step)
    again.resume(stopped.recorder, step)
    again.fit()
    assert again.recorder.written == alone.recorder.written
    assert again.final_bytes() == alone.final_bytes()


def test_an_early_stop_ends_it_and_the_best_weights_are_kept() -> None:
    training = Training({"optimizer": {"name": "sgd", "lr": 0.3}, "budget": {"epochs": 60}}, watch=True, patience=3)
    ending = training.fit()
    assert ending.kind == "early stop"
    assert "valid.loss did not improve on" in ending.reason
    best = training.callbacks[0]
    assert isinstance(best, BestWeights)
    losses = [row.metrics["valid.loss"] for row in training.recorder.written]
    assert best.value == min(losses)
    assert best.step == training.recorder.written[losses.index(min(losses))].step
    assert ending.at.step == best.step + 3 * 6
    assert ending.at.step in training.recorder.saves

    again = Training({"optimizer": {"name": "sgd", "lr": 0.3}, "budget": {"steps": best.step}})
    again.fit()
    assert training.engine.best is not None
    assert same(training.engine.best, weights(again.model))


def test_a_training_that_was_at_its_end_ends_again_at_once() -> None:
    done = Training(watch=True, patience=1, keys={"optimizer": {"name": "sgd", "lr": 3.0}, "budget": {"epochs": 9}})
    ending = done.fit()
    again = Training(watch=True, patience=1, keys=done.keys)
    again.resume(done.recorder, ending.at.step)
    assert again.fit() == ending
    assert again.engine.steps == ending.at.step
    assert not again.recorder.saves


def explode(at: int, value: float) -> Any:
    task, calls = classification(), 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        if torch.is_grad_enabled():
            calls += 1
        return task.loss(outputs, targets) * (value if calls == at else 1.0)

    return with_loss(task, loss)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("at", [1, 5, 6, 9, 12])
def test_a_loss_that_is_not_finite_ends_it_and_nothing_of_it_is_kept(at: int, value: float) -> None:
    training = Training({"checkpoint": {"every": 0.5}}, task=explode(at, value), watch=True)
    with pytest.raises(NonFiniteError) as e:
        training.fit()
    assert str(e.value).startswith(f"the loss at step {at} is not finite; its update was not made.")
    assert "optimizer.lr" in str(e.value)
    assert all(step < at for step in training.recorder.saves)
    assert all(row.step < at for row in training.recorder.written)
    for step in training.recorder.saves:
        state = training.recorder.state(step)
        assert all(value.isfinite().all() for value in state["engine"]["parameters"].values())


def test_a_gradient_that_is_not_finite_is_never_saved() -> None:
    """The loss of the step is finite: sqrt(0) is 0, and its slope is infinite."""
    task = classification()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return task.loss(outputs, targets) + (outputs * 0).sum(1).abs().sqrt()

    training = Training({"checkpoint": {"every": 1}, "budget": {"steps": 3}}, task=with_loss(task, loss))
    before = {name: value.clone() for name, value in training.model.named_parameters()}
    with pytest.raises(
        NonFiniteError, match=r"^the gradient at step 1 is not finite, although the loss is; its update "
    ):
        training.fit()
    assert not training.recorder.saves
    assert not training.recorder.written
    assert all(torch.equal(before[name], value) for name, value in training.model.named_parameters())


def test_weights_that_a_finite_gradient_makes_infinite_are_never_saved() -> None:
    keys = {"optimizer": {"name": "sgd", "lr": 3e38, "momentum": 0.0}, "budget": {"steps": 1}}
    task = classification()
    training = Training(keys, task=with_loss(task, lambda o, t: task.loss(o, t) * 1e3))
    with pytest.raises(NonFiniteError, match=r"^weights became NaN or infinite by step 1, although the losses"):
        training.fit()
    assert not training.recorder.saves


@pytest.mark.parametrize("execution", ["eager", "captured"])
def test_a_gradient_that_no_loss_scale_makes_finite_ends_the_run(execution: str) -> None:
    """Under fp16 its updates are skipped, one and all: the weights would be those that the run began with."""
    task = classification()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return task.loss(outputs, targets) + (outputs * 0).sum(1).abs().sqrt()

    keys = {"precision": "fp16", "budget": {"epochs": 5}}
    training = Training(keys, task=with_loss(task, loss), execution=execution)
    assert training.step.execution == execution
    with pytest.raises(NonFiniteError, match=r"^the loss scale of fp16 fell to 6\.1e-05 by step 30: gradients are NaN"):
        training.fit()
    assert not training.recorder.saves


def test_a_loss_scale_that_some_gradients_overflow_is_none_that_ends_the_run() -> None:
    task = classification()
    large = with_loss(task, lambda outputs, targets: 1e4 * task.loss(outputs, targets))
    training = Training({"precision": "fp16", "budget": {"epochs": 5}, "regularise": {"clip_norm": 1}}, task=large)
    assert training.fit().kind == "budget"
    assert 0 < (training.engine.skipped() or 0) < 26


def test_a_loss_of_another_shape_is_explained() -> None:
    task = with_loss(classification(), lambda o, t: nn.functional.one_hot(t, 3) - o)
    with pytest.raises(TrainingError, match=r"the loss function returned a tensor of shape \[8, 3\]"):
        Training(task=task).fit()


class Recorded:
    """Batches that tell whether their stream was closed, as worker processes need it."""

    def __init__(self, training: Training, count: int | None = None) -> None:
        self.inner, self.per_epoch, self.count = training.batches, training.batches.per_epoch, count
        self.started: list[Position] = []
        self.closed = False

    def origin(self, at: Position) -> Origin:
        return self.inner.origin(at)

    def start(self, at: Position = START) -> Iterator[Batch]:
        self.started.append(at)
        try:
            for number, batch in enumerate(self.inner.start(at)):
                if number == self.count:
                    return
                yield batch
        finally:
            self.closed = True


@pytest.mark.parametrize("task", [None, explode(3, math.nan)], ids=["to the end", "to an error"])
def test_the_stream_of_batches_is_started_once_and_closed(task: Any) -> None:
    training = Training(task=task or classification())
    batches: Any = Recorded(training)
    training.batches = batches
    error: NonFiniteError | None = None
    try:
        training.fit()
    except NonFiniteError as caught:
        error = caught  # its traceback keeps the loop's variables alive
    assert (error is None) == (task is None)
    assert batches.closed
    assert batches.started == [START]


def test_batches_that_run_out_are_an_error_and_no_endless_loop() -> None:
    training = Training()
    batches: Any = Recorded(training, count=4)
    training.batches = batches
    with pytest.raises(ValueError, match="shorter"):
        training.fit()
