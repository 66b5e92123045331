"""Resumed from any step, any number of times, a training ends bit-identical to one that was left alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.training.trainings import ADAMW, SGD, Training, network
from torch import nn

from shoal.datasets import Batch

ALL = {"checkpoint": {"every": 1 / 6}, "log": {"every": 4}}
VARIANTS: dict[str, dict[str, Any]] = {
    "sgd, two schedules": {
        "optimizer": SGD,
        "schedules": {"lr": {"name": "cosine", "warmup_steps": 3}, "momentum": {"name": "cosine", "final": 0.5}},
    },
    "adamw": {"optimizer": ADAMW},
    "a smaller last batch": {"optimizer": SGD, "dataset": {"drop_last": False}},
    "plateau": {
        "optimizer": {"name": "sgd", "lr": 1.0},
        "schedules": {"lr": {"name": "plateau", "patience": 0, "threshold": 0.2}},
        "evaluate": {"every": 0.5},
    },
    "swa": {"optimizer": SGD, "average": {"name": "swa", "start": 0.2, "every": 0.5}, "evaluate": {"every": 0.5}},
    "ema": {"optimizer": SGD, "average": {"name": "ema", "decay": 0.8}, "evaluate": {"every": 0.5}},
}
CUTS = {"eager": range(1, 12), "captured": (1, 5, 6, 10)}
"""Steps from which a training is resumed: a recording takes a while to be made."""


def make(name: str, execution: str = "eager") -> Training:
    count = 45 if name == "a smaller last batch" else 48
    made = Training({**ALL, **VARIANTS[name]}, model=network(dropout=0.4), count=count, watch=True, execution=execution)
    assert made.step.execution == execution
    return made


@pytest.mark.parametrize("execution", CUTS)
@pytest.mark.parametrize("name", VARIANTS)
def test_from_every_step_it_ends_the_same(name: str, execution: str) -> None:
    """Weights, running statistics, slots, best weights, sums, callbacks: the bytes of the last checkpoint; and rows."""
    alone = make(name, execution)
    assert alone.fit().at.step == 12
    assert sorted(alone.recorder.saves) == list(range(1, 13))
    if name == "plateau":
        assert 0 < alone.hypers.version < 4
    for step in CUTS[execution]:
        again = make(name, execution)
        again.resume(alone.recorder, step)
        again.fit()
        assert again.final_bytes() == alone.final_bytes(), step
        assert again.recorder.written == alone.recorder.written, step
        assert sorted(again.recorder.saves) == list(range(step + 1, 13))


def _stop_after_a_step(training: Training) -> None:
    """Ask a training to stop in its first step: an evaluation that is due after it is left to the next attempt."""
    step = training.engine.step

    def perform(batch: Batch, hyper: Any) -> None:
        step(batch, hyper)
        training.pulse.ask("SIGTERM")

    training.engine.step = perform  # type: ignore[method-assign]


def test_resumed_after_every_step_it_ends_the_same() -> None:
    alone = make("adamw")
    alone.fit()
    attempt = make("adamw")
    step = 0
    while step < 12:
        again = make("adamw")
        if step:
            again.resume(attempt.recorder, step)
        _stop_after_a_step(again)
        assert again.fit().at.step == step + 1
        step, attempt = step + 1, again
    assert attempt.recorder.due == {12}, "asked in its last step: what is due there comes when it is resumed"
    again = make("adamw")
    again.resume(attempt.recorder, 12)
    assert again.fit().kind == "budget"
    attempt = again
    assert attempt.final_bytes() == alone.final_bytes()
    assert attempt.recorder.written == alone.recorder.written


def test_an_early_stop_is_resumed() -> None:
    keys = {**ALL, "optimizer": {"name": "sgd", "lr": 2.0}, "budget": {"epochs": 9}}
    alone = Training(keys, watch=True, patience=1)
    ending = alone.fit()
    assert ending.kind == "early stop"
    again = Training(keys, watch=True, patience=1)
    again.resume(alone.recorder, ending.at.step - 4)
    assert again.fit() == ending
    assert again.final_bytes() == alone.final_bytes()


def test_an_optimizer_that_is_not_fused_is_resumed() -> None:
    def rmsprop() -> Training:
        model = network(dropout=0.4)
        optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01, momentum=0.5, centered=True)
        return Training(ALL, model=model, optimizer=optimizer)

    alone = rmsprop()
    alone.fit()
    again = rmsprop()
    again.resume(alone.recorder, 5)
    again.fit()
    assert again.final_bytes() == alone.final_bytes()


def test_a_model_in_channels_last_is_resumed() -> None:
    """A slot in another memory layout than its parameter would be updated from the wrong gradients."""

    class Pictures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.convolution = nn.Conv2d(3, 4, (1, 2)).to(memory_format=torch.channels_last)
            self.head = nn.Linear(4, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head(self.convolution(inputs.reshape(-1, 3, 1, 2)).flatten(1))

    alone, again = Training(ALL, model=Pictures()), Training(ALL, model=Pictures())
    alone.fit()
    again.resume(alone.recorder, 5)
    again.fit()
    assert again.final_bytes() == alone.final_bytes()
