"""A recorded step: what it takes over from an eager one and gives back, what it refuses, and what it leaves alone."""

from __future__ import annotations

import gc
import random
import re
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tests.training.trainings import CPU, Training, classification, network, same, weights
from torch import Tensor, nn

from shoal.checkpoints import plain
from shoal.errors import CheckpointError, TrainingError
from shoal.tasks import with_loss
from shoal.training import program
from shoal.training.recorded import MOST_SHAPES, RecordedStep

Make = Callable[[], nn.Module]


class Everything(nn.Module):
    """Two layers with one weight, one called twice, one that no output depends on, a frozen bias, a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight
        self.again, self.idle, self.head = nn.Linear(6, 6), nn.Linear(6, 2), nn.Linear(6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.head.bias.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.norm(self.second(self.first(inputs).tanh()))
        return self.head(self.again(self.again(x).tanh()))


UNTRAINED = ("idle.weight", "idle.bias", "head.bias")


def steps(training: Training, count: int, first: int = 0) -> None:
    rows = training.engine.upload(training.hypers.block(first, first + count))
    batches = training.batches.start()
    for _ in range(first):
        next(batches)
    for hyper, batch in zip(rows, batches, strict=False):
        training.engine.step(batch, hyper)


def recorded(training: Training) -> RecordedStep:
    assert isinstance(training.step, RecordedStep), training.said
    return training.step


def slots(training: Training) -> dict[str, Tensor]:
    found = training.engine.state_dict()["optimizer"]
    return {f"{name}.{slot}": value for name, own in found.items() for slot, value in own.items()}


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    "sgd with dampening": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "dampening": 0.5},
    "adamw": {"name": "adamw", "lr": 0.01},
    "nadam": {"name": "nadam", "lr": 0.01},
    "muon": {"name": "muon", "lr": 0.01, "matmul": "float32"},
    "adagrad": {"name": "adagrad", "lr": 0.02},
}


@pytest.mark.parametrize("joined", [True, False], ids=["joined", "one by one"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_goes_on_under_another_execution(optimizer: str, joined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not joined:
        monkeypatch.setattr(program, "JOINED_NUMBERS", 0)
    keys = {"optimizer": OPTIMIZERS[optimizer]}
    captured = Training(keys, model=Everything(), execution="captured")
    whole, eager = (Training(keys, model=Everything()) for _ in range(2))
    assert any(unit.joined for unit in recorded(captured).program.units) == joined
    steps(captured, 5)
    steps(whole, 5)
    halves = plain(captured.engine.state_dict()), plain(whole.engine.state_dict())
    steps(whole, 5, first=5)
    for training, half in zip((eager, captured), halves, strict=True):
        training.engine.load_state_dict(half)
        steps(training, 5, first=5)
        for found, wanted in ((weights(training.model), weights(whole.model)), (slots(training), slots(whole))):
            assert {name for name in found.keys() ^ wanted.keys() if not name.startswith("idle.")} == set()
            for name in found.keys() & wanted.keys():
                torch.testing.assert_close(found[name], wanted[name], rtol=1e-3, atol=2e-5, msg=name)
        for name, value in weights(Everything()).items():
            assert torch.equal(weights(training.model)[name], value) == (name in UNTRAINED), name


@pytest.mark.parametrize("way", [("captured", "captured"), ("captured", "eager")], ids="-".join)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_that_was_saved_before_its_first_step_begins_as_one_that_was_not(
    optimizer: str, way: tuple[str, str]
) -> None:
    """What slots begin with may be something else than zero: nadam's product of momenta, adagrad's sum."""
    keys = {"optimizer": OPTIMIZERS[optimizer]}
    first, again = (Training(keys, execution=execution) for execution in way)
    alone = Training(keys, execution=way[1])
    again.engine.load_state_dict(plain(first.engine.state_dict()))
    for training in (again, alone):
        steps(training, 3)
    assert same(weights(again.model), weights(alone.model))
    assert same(slots(again), slots(alone))


def test_the_state_of_another_optimizer_is_refused() -> None:
    first, second = (Training({"optimizer": {"name": name}}, execution="captured") for name in ("adamw", "nadam"))
    steps(first, 1)
    with pytest.raises(CheckpointError, match="has no mu_product: it is another optimizer"):
        second.engine.load_state_dict(plain(first.engine.state_dict()))


def test_a_step_that_is_not_adopted_leaves_the_model_alone() -> None:
    """Steps are recorded to be measured: one that is not taken must not move the weights in memory, or change a bit."""
    training = Training()
    before = {name: (p.data_ptr(), p.detach().clone()) for name, p in training.model.named_parameters()}
    step = training.stepping.recorded("captured")
    step.rehearsal()(0)
    assert step.operations()
    for name, parameter in training.model.named_parameters():
        pointer, value = before[name]
        assert parameter.data_ptr() == pointer
        assert torch.equal(parameter, value)


def test_an_adopted_step_holds_the_weights_once_and_no_batches() -> None:
    training = Training(execution="captured")
    step = recorded(training)
    own = {name: parameter.data_ptr() for name, parameter in training.model.named_parameters()}
    assert {name: parameter.data_ptr() for name, parameter in step.program.model.named_parameters()} == own
    assert step.trial.batches == ()
    step.adopt()  # a second time changes nothing
    steps(training, 1)
    assert {name: parameter.data_ptr() for name, parameter in training.model.named_parameters()} == own


class Counted(nn.Linear):
    """Knows how many of it there are."""

    alive: ClassVar[weakref.WeakSet[nn.Module]] = weakref.WeakSet()

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.alive.add(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        made = Counted(self.in_features, self.out_features)
        made.load_state_dict(self.state_dict())
        return made


def test_of_the_copies_that_a_trial_needs_one_is_left() -> None:
    training = Training(model=Counted(6, 3), execution="captured")
    gc.collect()
    assert set(Counted.alive) == {training.model, recorded(training).program.model}


@pytest.mark.parametrize("average", ["none", "ema"])
def test_a_recorded_run_holds_no_more_memory_than_an_eager_one(average: str) -> None:
    def held(execution: str) -> int:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 30011), nn.ReLU(), nn.Linear(30011, 3))
        keys = {"optimizer": {"name": "adamw"}, "average": {"name": average}}
        training = Training(keys, model=model, execution=execution)
        assert training.step.execution == execution
        steps(training, 2)
        gc.collect()
        storages = [
            it.untyped_storage()
            for it in gc.get_objects()
            if type(it) in (Tensor, nn.Parameter) and it.layout == torch.strided
        ]
        found = {storage.data_ptr(): storage.nbytes() for storage in storages}
        return sum(size for size in found.values() if size > 30011)

    assert held("captured") <= held("eager")


class Modes(nn.Module):
    """Draws, in training mode only, and counts on a buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return nn.functional.dropout(self.layer(inputs), 0.5, self.training)


def test_a_model_that_comes_in_eval_mode_is_recorded_in_training_mode() -> None:
    training = Training(model=Modes().eval(), execution="captured")
    recorded(training)
    steps(training, 3)
    assert training.model.calls == 3
    assert all(module.training for module in training.model.modules())


class Hostile(nn.Linear):
    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(6, 3)


class Counter(Hostile):
    """Changes after so many calls, more than a trial has."""

    calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(inputs) * (1.0 if self.calls < 100 else 0.0)


class Carries(Hostile):
    """Keeps a state that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.state = torch.zeros(3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs) + self.state
        self.state = outputs.detach().mean(0) * 0.5
        return outputs


class Reassigns(Hostile):
    """Puts a new buffer in the place of the old one, by so little that the network as a whole does not show it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        self.mean = self.mean + 1e-6 * outputs.detach().mean(0)
        return outputs - self.mean


class Branches(Hostile):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs * 2 if outputs.sum() > 0 else outputs


class NotCopied(Hostile):
    """Has a tensor that autograd made: such a model cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.double = self.weight * 2


class Draws(Hostile):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * random.uniform(0.5, 1.5)


def hooked(name: str) -> Make:
    def make() -> nn.Module:
        model = Hostile()

        def halve(it: Tensor) -> Any:
            if name == "register_hook":
                return it / 2
            assert it.grad is not None
            it.grad /= 2
            return None

        getattr(model.weight, name)(halve)
        return model

    return make


class Recurrent(nn.Module):
    """torch records the backward pass of an LSTM on a CPU, and cannot replay it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cells, self.head = nn.LSTM(6, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.cells(inputs.unsqueeze(1))[0][:, -1])


REFUSED: dict[str, tuple[Make, str]] = {
    "a counter": (Counter, "the model changes calls from step to step"),
    "a state": (Carries, "two recordings of a step differ"),
    "another buffer": (Reassigns, "the model puts another tensor in the place of its buffer mean"),
    "a branch": (Branches, r"Python asks for the value of a tensor in the step \(.*test_recorded.py, line \d+, in f"),
    "no copy": (NotCopied, "the model cannot be copied"),
    "draws": (Draws, r"it draws from Python's generator"),
    "a hook": (hooked("register_hook"), "the model has hooks on gradients"),
    "another hook": (hooked("register_post_accumulate_grad_hook"), "the model has hooks on gradients"),
    "an LSTM": (Recurrent, "it could not be replayed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_runs_eagerly_and_says_why_in_one_sentence(name: str) -> None:
    make, reason = REFUSED[name]
    asked, eager = Training(model=make(), execution="captured"), Training(model=make())
    assert asked.step.execution == "eager"
    (said,) = asked.said
    assert said.startswith("the step cannot be captured: ")
    assert said.endswith(". It runs eagerly.")
    assert re.search(reason, said), said
    for training in (asked, eager):
        steps(training, 4)
    assert same(weights(asked.model), weights(eager.model))


class Writes(Hostile):
    """Changes its inputs in place."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.mul_(0.5))


class Constants(Hostile):
    """Writes to a view of a constant that it makes at every step."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        ones = torch.full((len(inputs), 3), 0.0)
        ones.view(-1)[:9].add_(1.0)
        return outputs * ones


def forward_hooked() -> nn.Module:
    model = nn.Sequential(Hostile())
    model[0].register_forward_hook(lambda module, inputs, outputs: outputs * 2)
    return model


def plain_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize("scalar", [False, True], ids=["a loss an example", "one loss"])
@pytest.mark.parametrize("make", [Writes, Constants, forward_hooked, Everything, Modes])
def test_unusual_models_are_recorded_and_trained_as_eagerly(make: Make, scalar: bool) -> None:
    task = with_loss(classification(), plain_loss) if scalar else classification()
    captured, eager = (Training(model=make(), task=task, execution=name) for name in ("captured", "eager"))
    recorded(captured)
    for training in (captured, eager):
        steps(training, 8)
    found, wanted = weights(captured.model), weights(eager.model)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert captured.engine.drain()[0] == pytest.approx(eager.engine.drain()[0], rel=1e-5)


def test_batches_of_more_than_one_shape_may_come_in_the_first_steps() -> None:
    keys = {"dataset": {"drop_last": False}, "regularise": {"clip_percentile": 90.0}}
    captured, eager = (Training(keys, model=network(0.5), execution=name, count=21) for name in ("captured", "eager"))
    recorded(captured)
    for training in (captured, eager):
        steps(training, 7)
    for name, value in weights(eager.model).items():
        if name != "0.bias":
            torch.testing.assert_close(weights(captured.model)[name], value, rtol=1e-4, atol=1e-6, msg=name)


class Conditional(Hostile):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return torch.cond(inputs.sum() > 0, lambda x: x * 2, lambda x: x * 3, (outputs,))


@pytest.mark.filterwarnings("ignore")  # what runs such a branch eagerly, torch's dynamo, warns of itself
def test_a_branch_by_torch_cond_is_recorded_with_both_its_sides() -> None:
    captured, eager = (Training(model=Conditional(), execution=name) for name in ("captured", "eager"))
    recorded(captured)
    for training in (captured, eager):
        steps(training, 8)
    for name, value in weights(eager.model).items():
        torch.testing.assert_close(weights(captured.model)[name], value, rtol=1e-4, atol=1e-6, msg=name)


class Shapes(Hostile):
    """Can be recorded for batches of 8, and not for smaller ones."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs if len(inputs) == 8 or outputs.sum() > 0 else outputs * 2


def test_a_shape_that_cannot_be_recorded_ends_the_run_with_what_to_do() -> None:
    keys = {"dataset": {"drop_last": False}}
    training = Training(keys, model=Shapes(), execution="captured", count=29)
    recorded(training)
    steps(training, 3)
    with pytest.raises(
        TrainingError, match=r"a batch of shape \[5, 6\] came, and the step cannot be .*execution=eager"
    ):
        steps(training, 1, first=3)


def test_shapes_that_never_recur_are_refused() -> None:
    training = Training(execution="captured")
    batch = next(training.batches.start())
    (hyper,) = training.engine.upload(training.hypers.block(0, 1))

    def step(size: int) -> None:
        inputs, targets, index = (
            torch.cat([value, value])[:size] for value in (batch.inputs, batch.targets, batch.index)
        )
        training.engine.step(replace(batch, inputs=inputs, targets=targets, index=index), hyper)

    for size in range(8, 8 + MOST_SHAPES):
        step(size)
    step(8)  # one that has been seen is no new one
    with pytest.raises(TrainingError, match=r"batches come in more than 8 shapes, the last of \[16, 6\]: "):
        step(16)


def test_recording_takes_nothing_from_anybodys_generator() -> None:
    training = Training(model=network(0.5))
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    step = training.stepping.recorded("captured")
    step.adopt()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), repr(np.random.get_state())) == before[1:]


@pytest.mark.parametrize("at", [1, 4])
def test_a_loss_that_is_not_finite_stops_it_at_its_step(at: int) -> None:
    """The poison is in the data, so the recording has it too; a trial over losses that are NaN is no difference."""
    training = Training(execution="captured")
    batches = training.batches.start()
    rows = training.engine.upload(training.hypers.block(0, 6))
    expected = Training(execution="captured")
    steps(expected, at - 1)
    for number, (hyper, batch) in enumerate(zip(rows, batches, strict=False), 1):
        if number == at:
            batch.inputs[0, 0] = float("nan")
        training.engine.step(batch, hyper)
    assert [bad and bad.step for bad in training.engine.bad_steps()] == [at]
    assert training.engine.finite() == [True]
    wanted = {name: p.detach() for name, p in expected.model.named_parameters()}
    assert same({name: p.detach() for name, p in training.model.named_parameters()}, wanted)


def test_a_training_whose_first_losses_are_not_finite_is_recorded_and_says_so() -> None:
    def poisoned(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none") / 0.0

    training = Training(task=with_loss(classification(), poisoned), execution="captured")
    recorded(training)
    steps(training, 2)
    assert [bad and bad.step for bad in training.engine.bad_steps()] == [1]


def test_a_budget_shorter_than_a_trial_is_recorded() -> None:
    keys = {"budget": {"steps": 1}, "schedules": {"lr": {"name": "cosine"}}}
    training = Training(keys, execution="captured")
    recorded(training)
    steps(training, 1)
    assert training.engine.meter.device == CPU


def test_where_that_is_wanted_a_shape_that_cannot_be_recorded_is_trained_as_it_is() -> None:
    keys = {"dataset": {"drop_last": False}, "optimizer": {"name": "adamw", "lr": 0.01}, "average": {"name": "ema"}}
    captured, eager = (Training(keys, model=Shapes(), execution=name, count=29) for name in ("captured", "eager"))
    said: list[str] = []
    recorded(captured).otherwise = said.append
    for training in (captured, eager):
        steps(training, 8)
    (sentence,) = said
    assert sentence.startswith("a batch of shape [5, 6] came, and the step cannot be recorded for it: Python asks")
    assert sentence.endswith(". Batches of this shape run eagerly.")
    found, wanted = (weights(training.model) for training in (captured, eager))
    averages = [training.engine.averaged_weights() for training in (captured, eager)]
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
        torch.testing.assert_close(averages[0][name], averages[1][name], rtol=1e-4, atol=1e-6, msg=name)
    assert captured.engine.drain()[0] == pytest.approx(eager.engine.drain()[0], rel=1e-5)
    for name, value in slots(eager).items():
        torch.testing.assert_close(slots(captured)[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_where_that_is_wanted_shapes_that_never_recur_are_trained_as_they_are() -> None:
    captured, eager = Training(execution="captured"), Training()
    said: list[str] = []
    recorded(captured).otherwise = said.append
    for training in (captured, eager):
        batch = next(training.batches.start())
        (hyper,) = training.engine.upload(training.hypers.block(0, 1))
        for size in (*range(8, 8 + MOST_SHAPES + 2), 16, 8):
            inputs, targets, index = (
                torch.cat([value, value, value])[:size] for value in (batch.inputs, batch.targets, batch.index)
            )
            training.engine.step(replace(batch, inputs=inputs, targets=targets, index=index), hyper)
    assert said == ["batches come in more than 8 shapes, the last of [16, 6]: those of further shapes run eagerly."]
    found, wanted = (weights(training.model) for training in (captured, eager))
    for name, value in wanted.items():
        if name != "0.bias":
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_an_adopted_step_holds_the_buffers_once() -> None:
    training = Training(execution="captured")
    own = {name: buffer.data_ptr() for name, buffer in training.model.named_buffers()}
    assert {name: buffer.data_ptr() for name, buffer in recorded(training).program.model.named_buffers()} == own


class Seldom(Hostile):
    """Draws, and does the same whatever it drew in nearly all steps: two recordings are the same."""

    numpy = False

    def forward(self, inputs: Tensor) -> Tensor:
        drawn = np.random.rand() if self.numpy else random.random()
        return super().forward(inputs) * (2.0 if drawn < 1e-9 else 1.0)


@pytest.mark.parametrize("numpy", [False, True])
def test_a_draw_that_seldom_matters_is_found(numpy: bool) -> None:
    model = Seldom()
    model.numpy = numpy
    (said,) = Training(model=model, execution="captured").said
    assert f"it draws from {'NumPy' if numpy else 'Python'}'s generator" in said


class Recomputes(Hostile):
    """Draws, so that its trial in float64 is another one."""

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(inputs), 0.01, self.training)


def test_what_draws_is_not_measured_against_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("shoal.training.recorded.differs", lambda *_, **__: "it leads elsewhere")
    monkeypatch.setattr("shoal.training.recorded.exact", lambda *_: asked.append("float64"))
    for model, wanted in ((Recomputes(), []), (Hostile(), ["float64"])):
        asked.clear()
        (said,) = Training(model=model, execution="captured").said
        assert said == (
            "the step cannot be captured: a replay is not the same as eager steps: it leads elsewhere. It runs eagerly."
        )
        assert asked == wanted
