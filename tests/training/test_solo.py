"""A step of the solo engine: what it computes, what it guards against, and what it never waits for."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.trainings import ADAMW, PLAN, SGD, Training, classification, eager_step, network, same, weights
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from shoal.datasets import Batch
from shoal.errors import CheckpointError, TrainingError
from shoal.models import reparametrised
from shoal.optim import batch_norm_statistics, functional_call
from shoal.tasks import Task, with_loss
from shoal.training import SoloEngine
from shoal.training.precision import autocasting
from shoal.training.weights import evaluating, load_weights, weights_of

Make = Callable[..., Training]


def fused_sgd(**keywords: Any) -> Training:
    return Training({"optimizer": SGD}, **keywords)


def fused_adamw(**keywords: Any) -> Training:
    return Training({"optimizer": ADAMW}, **keywords)


def not_fused(**keywords: Any) -> Training:
    model = network()
    return Training(model=model, optimizer=torch.optim.RMSprop(model.parameters(), lr=0.01, momentum=0.5), **keywords)


MAKES: list[Make] = [fused_sgd, fused_adamw, not_fused]


def steps(training: Training, count: int) -> None:
    rows = training.engine.upload(training.hypers.block(0, count))
    for hyper, batch in zip(rows, training.batches.start(), strict=False):
        training.engine.step(batch, hyper)


def learned(training: Training) -> dict[str, Tensor]:
    """Parameters and every slot of the optimizer; not the running statistics, which a forward pass moves."""
    found = {name: p.detach().clone() for name, p in training.model.named_parameters()}
    for name, slots in training.engine.state_dict()["optimizer"].items():
        found |= {f"{name}/{slot}": value.clone() for slot, value in slots.items() if isinstance(value, Tensor)}
    return found


def poisoned(bad: set[int], value: float) -> Task:
    """Cross entropy whose loss is `value` for one example, with finite gradients, at the steps in `bad`, from 1."""
    task, calls = classification(), 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        losses = task.loss(outputs, targets)
        return losses + torch.tensor([value] + [0.0] * (len(losses) - 1)) if calls in bad else losses

    return with_loss(task, loss)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("bad", [{4}, {4, 5, 6}, {4, 6}, {1}], ids=str)
@pytest.mark.parametrize("make", MAKES)
def test_a_loss_that_is_not_finite_changes_nothing_from_its_step_on(make: Make, bad: set[int], value: float) -> None:
    first = min(bad)
    training, expected = make(task=poisoned(bad, value)), make()
    steps(expected, first - 1)
    steps(training, 6)  # the loss may be finite again afterwards
    found, wanted = learned(training), learned(expected)
    assert same({name: found[name] for name in wanted}, wanted)  # a first step may have made slots, and not used them
    assert training.engine.bad_steps() == [first]
    assert training.engine.finite() == [True]


@pytest.mark.parametrize("make", MAKES)
def test_a_good_run_has_no_bad_steps(make: Make) -> None:
    training = make()
    steps(training, 5)
    assert training.engine.bad_steps() == [None]
    assert training.engine.finite() == [True]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_told(value: float) -> None:
    training = fused_sgd()
    with torch.no_grad():
        next(training.model.parameters())[0, 0] = value
    assert training.engine.finite() == [False]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_shipped_optimizers_skip_on_the_device(name: str) -> None:
    assert Training({"optimizer": {"name": name}}).engine.skips_on_device
    assert not not_fused().engine.skips_on_device


WAITS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__", "nonzero")
READS = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal", "aten.is_nonzero", "aten.masked_select")
"""What torch itself calls where a value or a shape is needed on the host."""


class Reads(TorchDispatchMode):
    """Notes every operation for which a GPU's host would wait, whoever calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        if str(func).rpartition(".")[0] in READS:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


WAITLESS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": SGD},
    "adamw": {"optimizer": ADAMW},
    "demon_adam, a rule": {"optimizer": {"name": "demon_adam"}, "schedules": {"momentum": {"name": "demon"}}},
    "lion, a rule": {"optimizer": {"name": "lion", "lr": 1e-3}, "schedules": {"lr": {"name": "cosine"}}},
    "muon, two rules": {"optimizer": {"name": "muon"}},
    "clip norm": {"regularise": {"clip_norm": 0.1, "clip_value": 0.1}},
    "clip percentile": {"regularise": {"clip_percentile": 50.0}},
    "mixup": {"regularise": {"mixup": 0.4}},
    "sam": {"regularise": {"sam": 0.05}},
    "ema": {"average": {"name": "ema"}},
    "lookahead": {"average": {"name": "lookahead", "every": 2}},
    "accumulation": {"accumulate": 2},
    "fp16": {"precision": "fp16", "regularise": {"clip_norm": 0.1}},
}


@pytest.mark.parametrize("execution", ["eager", "captured"])
@pytest.mark.parametrize("name", WAITLESS)
def test_a_step_never_waits_for_the_device(name: str, execution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these methods would make a GPU's host wait."""
    training = Training(WAITLESS[name], execution=execution)
    assert training.step.execution == execution
    steps(training, 1)  # the first checks what the user's model and loss return
    batches = training.batches.start()
    ready = list(zip(training.engine.upload(training.hypers.block(0, 12)), batches, strict=False))
    waited: list[str] = []
    for method in WAITS:
        original = getattr(Tensor, method)

        def recorded(tensor: Tensor, *arguments: Any, name: str = method, original: Any = original) -> Any:
            waited.append(name)
            return original(tensor, *arguments)

        monkeypatch.setattr(Tensor, method, recorded)
    with Reads() as reads:
        for hyper, batch in ready:
            training.engine.step(batch, hyper)
    assert waited == []
    assert reads.seen == []
    assert reads.operations > 10 * len(ready)
    with reads:
        assert training.engine.bad_steps() == [None]
    assert waited == ["item"]
    assert reads.seen == ["aten._local_scalar_dense.default"]


def test_an_optimizer_that_cannot_skip_is_asked_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    training, waited = not_fused(), 0
    original = Tensor.item

    def recorded(tensor: Tensor) -> Any:
        nonlocal waited
        waited += 1
        return original(tensor)

    monkeypatch.setattr(Tensor, "item", recorded)
    steps(training, 3)
    assert waited >= 3


def test_gradients_do_not_pile_up() -> None:
    training = fused_sgd()
    steps(training, 2)
    assert all(p.grad is None for p in training.model.parameters())


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: o, r"returned a tensor of shape \[8, 3\]: expected a tensor of shape \[8\]"),
        (lambda o, t: 1.0, "the loss function returned float"),
        (lambda o, t: o.detach().sum(), "does not depend on the model's weights"),
    ],
)
def test_a_loss_of_another_kind_is_explained_at_the_first_step(loss: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        steps(Training(task=with_loss(classification(), loss)), 1)


def test_a_model_that_returns_no_tensor_is_explained_at_the_first_step() -> None:
    class Two(nn.Linear):
        def forward(self, inputs: Tensor) -> Any:
            return super().forward(inputs), inputs

    with pytest.raises(TrainingError, match="the model returned tuple: expected one tensor"):
        steps(Training(model=Two(6, 3)), 1)


def test_a_model_that_comes_in_eval_mode_is_trained_and_a_frozen_part_stays_frozen() -> None:
    assert all(module.training for module in Training(model=network().eval()).model.modules())
    model = network()
    model[1].eval()
    training = Training(model=model)
    before = model[1].running_mean.clone()
    steps(training, 2)
    assert not model[1].training
    assert torch.equal(model[1].running_mean, before)


def test_the_best_weights_are_those_of_the_step_at_which_they_were_kept() -> None:
    training = Training(model=network(dropout=0.3))
    evaluation = training.evaluation.batches
    steps(training, 3)
    training.engine.keep()
    kept, expected = weights(training.model), training.engine.evaluate(evaluation)
    steps(training, 3)
    assert training.engine.evaluate(evaluation) != expected
    assert training.engine.evaluate(evaluation, weights="best") == expected
    assert training.engine.best is not None
    assert same(training.engine.best, kept)
    training.engine.keep()
    assert same(training.engine.best, weights(training.model))


def test_without_best_weights_the_present_ones_are_evaluated() -> None:
    training = fused_sgd()
    evaluation = training.evaluation.batches
    assert training.engine.evaluate(evaluation, weights="best") == training.engine.evaluate(evaluation)


def test_a_step_draws_from_its_own_seed_whatever_was_drawn_before() -> None:
    first, second = (Training(model=network(dropout=0.5)) for _ in range(2))
    batches = first.batches.start()
    ready = [next(batches) for _ in range(4)]
    for batch in ready:
        first.engine.step(batch, [0.1])
    for batch in ready:
        torch.rand(17)
        second.engine.step(batch, [0.1])
    assert same(weights(first.model), weights(second.model))


class Drawing(nn.Linear):
    """Draws from Python's and NumPy's generators, as some published models do."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * random.uniform(0.5, 1.5) + float(np.random.normal())


def test_draws_from_python_and_numpy_are_resumed_too() -> None:
    def drawing() -> Training:
        torch.manual_seed(0)
        return Training(model=Drawing(6, 3))

    whole, first, second = drawing(), drawing(), drawing()
    batches = whole.batches.start()
    ready = [next(batches) for _ in range(6)]
    for batch in ready:
        whole.engine.step(batch, [0.1])
    for batch in ready[:3]:
        first.engine.step(batch, [0.1])
    state = first.engine.state_dict()
    second.engine.load_state_dict({**state, "parameters": {n: p.clone() for n, p in state["parameters"].items()}})
    random.seed(99), np.random.seed(99)
    second.engine.load_state_dict(state)
    for batch in ready[3:]:
        second.engine.step(batch, [0.1])
    assert same(weights(whole.model), weights(second.model))


def test_a_cache_that_is_no_state_is_not_saved() -> None:
    class Caching(nn.Linear):
        def __init__(self) -> None:
            super().__init__(6, 3)
            self.register_buffer("seen", torch.zeros(()))
            self.register_buffer("cache", torch.zeros(0), persistent=False)

        def forward(self, inputs: Tensor) -> Tensor:
            self.seen += 1
            self.cache = inputs.detach().clone()
            return super().forward(inputs)

    first, second = Training(model=nn.Sequential(Caching())), Training(model=nn.Sequential(Caching()))
    steps(first, 2)
    assert set(weights_of(first.model)) == {"0.weight", "0.bias", "0.seen"}
    second.engine.load_state_dict(first.engine.state_dict())
    assert second.model[0].seen == 2  # type: ignore[index]


def test_shared_weights_are_saved_and_kept_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight

        def forward(self, inputs: Tensor) -> Tensor:
            return self.second(self.first(inputs).relu())[:, :3]

    torch.manual_seed(0)
    training = Training(model=Tied())
    steps(training, 2)
    training.engine.keep()
    expected = training.engine.evaluate(training.evaluation.batches)
    steps(training, 2)
    assert training.engine.evaluate(training.evaluation.batches, weights="best") == expected
    assert set(training.engine.state_dict()["parameters"]) == {"first.weight", "first.bias", "second.bias"}


def test_the_weights_of_another_model_are_refused_and_none_is_changed() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    before = weights(model)
    with pytest.raises(CheckpointError, match=r"another model: missing 1\.bias, left over head"):
        load_weights(model, {**{k: v + 1 for k, v in before.items() if k != "1.bias"}, "head": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"1\.bias is \(2,\) in the model and \(5,\) as saved"):
        load_weights(model, {**{k: v + 1 for k, v in before.items()}, "1.bias": torch.ones(5)})
    assert same(before, weights(model))


def test_steps_are_counted_and_the_last_smaller_batch_has_its_own_mean() -> None:
    training = Training({"dataset": {"drop_last": False}}, count=21)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0, fused=True)
    task = classification()
    engine = SoloEngine(eager_step(model, task, optimizer), task, seed=0, plan=PLAN)
    ours, batches = network(), training.batches.start()
    by_hand = torch.optim.SGD(ours.parameters(), lr=0.01, momentum=0.9, fused=True)
    sizes: list[int] = []
    for _ in range(6):
        batch: Batch = next(batches)
        sizes.append(len(batch.inputs))
        engine.step(batch, [0.01])
        nn.functional.cross_entropy(ours(batch.inputs), batch.targets, reduction="none").mean().backward()
        by_hand.step()
        by_hand.zero_grad()
    assert sizes == [8, 8, 5, 8, 8, 5]
    assert engine.steps == 6
    assert same(weights(model), weights(ours))


class Centred(nn.Linear):
    """Subtracts the running mean of its inputs, which it keeps in a buffer of its own."""

    def __init__(self) -> None:
        super().__init__(6, 3)
        self.register_buffer("centre", torch.full((6,), 9.0))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.centre.lerp_(inputs.detach().mean(0), 0.5)
        return super().forward(inputs - self.centre)


def test_lookahead_is_measured_with_the_present_buffers() -> None:
    training = Training({"average": {"name": "lookahead", "every": 3}}, model=Centred())
    steps(training, 8)
    measured, present = training.engine.averaged_weights(), weights_of(training.model)
    assert torch.equal(measured["centre"], present["centre"])
    assert measured["centre"].abs().max() < 3
    assert not torch.equal(measured["weight"], present["weight"])
    assert set(training.engine.state_dict()["average"]["kept"]) == {"weight", "bias"}


AVERAGES: dict[str, dict[str, Any]] = {
    "ema": {"name": "ema", "decay": 0.9, "warmup": False},
    "swa": {"name": "swa", "start": 0.0, "every": 0.2},
    "lookahead": {"name": "lookahead", "every": 5, "alpha": 0.3},
}


@pytest.mark.parametrize("name", AVERAGES)
def test_spectral_norm_divides_averaged_weights_by_their_own_largest_singular_value(name: str) -> None:
    torch.manual_seed(0)
    model = reparametrised(nn.Sequential(nn.Linear(6, 3, bias=False)), spectral_norm=True)
    optimizer = {"name": "sgd", "lr": 5.0, "momentum": 0.9}
    training = Training({"average": AVERAGES[name], "optimizer": optimizer}, model=model)
    steps(training, 12)
    averaged = training.engine.averaged_weights()
    with evaluating(model), torch.no_grad():
        weight = functional_call(model, averaged, (torch.eye(6),))
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1.0, abs=1e-3)
    for vector in ("u", "v"):
        assert averaged[f"0.parametrizations.weight.0._{vector}"].norm().item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("name", ["swa", "lookahead"])
def test_statistics_of_averaged_weights_are_measured_in_the_precision_of_the_training(name: str) -> None:
    training = Training({"average": AVERAGES[name], "precision": "fp16"})
    steps(training, 10)
    assert training.engine.averaging is not None
    found = training.engine.averaged_weights()
    inputs = list(training.engine.averaging.inputs())
    wide = batch_norm_statistics(training.model, found, inputs, seed=0)
    with autocasting("fp16", torch.device("cpu")):
        expected = batch_norm_statistics(training.model, found, inputs, seed=0)
    assert same(found, expected)
    assert not torch.equal(found["1.running_mean"], wide["1.running_mean"])
