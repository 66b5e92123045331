"""What tells a recording that is wrong from one that differs by rounding."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.training.trainings import Training, network, same, weights
from torch import Tensor, nn

from shoal.errors import TrainingError, ran_out
from shoal.training.eager import EagerStep
from shoal.training.trial import (
    NotRecordableError,
    Outcome,
    Trial,
    attempted,
    differs,
    double,
    outcome,
    reason,
    rounded,
    shaken,
)

TOLERANCE = 1e-4


def tried(model: nn.Module, training: Training) -> Outcome:
    return outcome(training.stepping.eager(model), training.stepping.trial())


def training(**keys: Any) -> Training:
    return Training({"optimizer": {"name": "adamw", "lr": 0.01}, **keys}, model=network(0.3))


@pytest.fixture(scope="module")
def outcomes() -> tuple[Outcome, Outcome]:
    """An eager trial, and one from weights a last bit away."""
    made = training()
    return tried(double(made.model), made), tried(shaken(double(made.model)), made)


def changed(found: Outcome, name: str, value: Tensor) -> Outcome:
    return replace(found, after={**found.after, name: value})


def test_a_trial_is_not_unlike_itself_nor_one_that_differs_by_rounding(outcomes: tuple[Outcome, Outcome]) -> None:
    wanted, shook = outcomes
    assert differs(wanted, wanted, wanted, tolerance=TOLERANCE) is None
    assert differs(shook, wanted, shook, tolerance=TOLERANCE) is None
    near = {name: value * (1 + 3e-7) if value.is_floating_point() else value for name, value in wanted.after.items()}
    assert differs(replace(wanted, after=near), wanted, shook, tolerance=TOLERANCE) is None


@pytest.mark.parametrize("name", ["0.weight", "1.weight", "1.running_mean", "4.weight", "4.bias"])
def test_an_update_that_is_missing_is_found(name: str, outcomes: tuple[Outcome, Outcome]) -> None:
    wanted, shook = outcomes
    found = differs(changed(wanted, name, wanted.before[name]), wanted, shook, tolerance=TOLERANCE)
    assert found is not None
    assert "other weights" in found or f"another {name}" in found


def test_an_update_that_is_missing_is_found_where_all_others_are_much_larger(
    outcomes: tuple[Outcome, Outcome],
) -> None:
    wanted, shook = outcomes
    small = {name: tree | {"small": torch.tensor([value])} for name, tree, value in (
        ("before", wanted.before, 1.0), ("after", wanted.after, 1.0 + 1e-4))}  # fmt: skip
    both = replace(wanted, **small)
    other = replace(shook, after=shook.after | {"small": torch.tensor([1.0 + 1e-4])})
    assert differs(both, both, other, tolerance=TOLERANCE) is None
    left = changed(both, "small", torch.tensor([1.0]))
    assert differs(left, both, other, tolerance=TOLERANCE) == "it leads to another small than the eager step"


def test_a_count_that_is_missing_is_found(outcomes: tuple[Outcome, Outcome]) -> None:
    wanted, shook = outcomes
    found = changed(wanted, "1.num_batches_tracked", torch.tensor(0))
    said = differs(found, wanted, shook, tolerance=TOLERANCE)
    assert said == "it leaves 1.num_batches_tracked as something else than the eager step"


def test_other_masks_and_other_losses_are_found(outcomes: tuple[Outcome, Outcome]) -> None:
    wanted, shook = outcomes
    made = training()
    trial = made.stepping.trial()
    other = Trial(trial.batches, type(trial.seeds)(seed=99), trial.generators)
    masked = outcome(made.stepping.eager(double(made.model)), other)
    assert differs(masked, wanted, shook, tolerance=TOLERANCE) is not None
    said = differs(replace(wanted, loss=wanted.loss * 1.01), wanted, shook, tolerance=TOLERANCE)
    assert said is not None
    assert said.startswith("its losses differ from the eager ones (")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_alike_and_like_no_others(
    value: float, outcomes: tuple[Outcome, Outcome]
) -> None:
    wanted, shook = outcomes
    bad = replace(wanted, loss=value)
    assert differs(replace(wanted, loss=math.nan), bad, bad, tolerance=TOLERANCE) is None
    assert differs(wanted, bad, bad, tolerance=TOLERANCE) is not None
    assert differs(bad, wanted, shook, tolerance=TOLERANCE) is not None


def test_a_trial_leaves_model_batches_and_generators_alone() -> None:
    class Writes(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs.mul_(0.5))

    made = Training(model=Writes(6, 3))
    trial, before, state = made.stepping.trial(), weights(made.model), torch.get_rng_state()
    inputs = [batch.inputs.clone() for batch, _ in trial.batches]
    first, second = (outcome(made.stepping.eager(double(made.model)), trial) for _ in range(2))
    assert same(first.after, second.after)
    assert first.loss == second.loss
    assert same(weights(made.model), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(batch.inputs, value) for (batch, _), value in zip(trial.batches, inputs, strict=True))
    assert first.idle == frozenset()


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.idle = nn.Linear(6, 3), nn.Linear(2, 2)
        self.cache: Tensor | None = None
        self.ready = False
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.ready = True  # what is set up once is no count
        self.cache = inputs.detach()
        self.calls += 1
        return self.inner(inputs)


def test_what_never_has_a_gradient_and_what_keeps_count_is_told() -> None:
    made = Training(model=Counts())
    found = tried(nn.Sequential(double(made.model)), made)
    assert found.idle == {"0.idle.weight", "0.idle.bias"}
    assert found.counters == ("0.calls",)


def test_a_trial_is_as_long_as_a_short_training_and_lets_its_workers_go() -> None:
    made = Training({"budget": {"steps": 2}})
    closed: list[bool] = []
    start = made.batches.start

    def watched(*arguments: Any) -> Any:
        try:
            yield from start(*arguments)
        finally:
            closed.append(True)

    made.batches.start = watched  # type: ignore[method-assign]
    assert len(made.stepping.trial().batches) == 2
    assert closed == [True]


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = nn.Linear(2, 2)
    model.made = model.weight * 2  # type: ignore[assignment]
    with pytest.raises(NotRecordableError, match="the model cannot be copied \\(RuntimeError: Only Tensors created"):
        double(model)


def test_a_reason_names_the_users_line() -> None:
    try:
        raise ValueError("broken on purpose.\nAnd more.")
    except ValueError as error:
        said = reason(error)
    assert said.startswith("it could not be recorded (")
    assert "test_trial.py, line" in said
    assert said.endswith("in test_a_reason_names_the_users_line) (ValueError: broken on purpose)")


def test_a_twin_is_a_step_of_its_own() -> None:
    made = training()
    twin = made.stepping.eager(double(made.model))
    assert isinstance(twin, EagerStep)
    assert twin.meter is not made.engine.meter
    assert twin.model is not made.model


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_are_no_excuse_for_going_a_third_of_the_way_too_far(precision: str) -> None:
    made = training(precision=precision)
    wanted = tried(double(made.model), made)
    shook = rounded(made.model, made.stepping.eager, made.stepping.trial(), precision=precision)
    assert differs(wanted, wanted, shook, tolerance=0.02) is None
    after = {
        name: value + 0.3 * (value - wanted.before[name]) if value.is_floating_point() else value
        for name, value in wanted.after.items()
    }
    found = differs(replace(wanted, after=after), wanted, shook, tolerance=0.02)
    assert found is not None
    assert found.startswith("it leads to ")


def test_a_mask_of_minus_infinities_is_like_itself(outcomes: tuple[Outcome, Outcome]) -> None:
    wanted, shook = outcomes
    mask = {"mask": torch.full((2, 2), -torch.inf).triu(1)}
    both, other = (replace(it, before=it.before | mask, after=it.after | mask) for it in (wanted, shook))
    assert differs(both, both, other, tolerance=TOLERANCE) is None
    assert differs(changed(both, "mask", torch.zeros(2, 2)), both, other, tolerance=TOLERANCE) is not None


class Alternates(nn.Linear):
    """Puts a new buffer in the place of the old one; what it has beside, it sets up once."""

    def __init__(self) -> None:
        super().__init__(6, 3)
        self.register_buffer("mean", torch.zeros(3), persistent=False)
        self.register_buffer("cache", None, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        if self.cache is None:
            self.cache = torch.ones(3)
        self.cache = self.cache.clone()  # another tensor, and the same values
        self.mean = 0.9 * self.mean + outputs.detach().mean(0)
        return outputs


def test_buffers_that_are_replaced_are_told() -> None:
    made = Training(model=Alternates())
    found = tried(double(made.model), made)
    assert (found.replaced, found.counters) == (("mean",), ())


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_memory_that_runs_out_is_known(error: Exception, wanted: bool) -> None:
    assert ran_out(error) == wanted
    with pytest.raises(NotRecordableError) as raised, attempted():
        raise error
    assert ("there is not enough memory to try it out" in str(raised.value)) == wanted
    assert (reason(error) == str(raised.value)) == wanted


def test_errors_of_shoals_own_go_on() -> None:
    with pytest.raises(TrainingError, match="a loss"), attempted():
        raise TrainingError("a loss is wrong")
