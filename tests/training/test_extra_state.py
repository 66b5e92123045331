"""What modules keep by `get_extra_state`: saved, put back and loaded as weights are, or refused at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.trainings import network
from torch import Tensor, nn

import shoal
from shoal.checkpoints import newest
from shoal.errors import CheckpointError
from shoal.store import RunFolder
from shoal.training.extra_state import extra_state, lent, load_extra_state

QUICK: dict[str, Any] = {"budget.steps": 24, "evaluate.every": 4, "execution": "eager", "optimizer.lr": 1.0}


class Level(nn.Module):
    """Adds to its inputs what it remembers of those before, in training and evaluation alike, in no buffer."""

    def __init__(self, odd: Any = None) -> None:
        super().__init__()
        self.kept: dict[str, Any] = {"calls": 0, "level": torch.zeros(()), "recent": [0.0], "odd": odd}

    def get_extra_state(self) -> Any:
        return self.kept

    def set_extra_state(self, state: Any) -> None:
        self.kept = state

    def forward(self, x: Tensor) -> Tensor:
        kept = self.kept
        kept["calls"] += 1
        kept["level"] = (0.9 * kept["level"] + 0.1 * x.detach().mean()).float()
        kept["recent"] = [*kept["recent"][-3:], float(kept["level"])]
        return x + kept["level"]


class Remembering(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int, level: type[Level] = Level, odd: Any = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(level(odd), nn.Flatten(), nn.Linear(int(np.prod(input_shape)), outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Raising(Level):
    def get_extra_state(self) -> Any:
        if self.kept["calls"] >= 0:
            raise ValueError("the file is closed")


class OneWay(Level):
    set_extra_state = nn.Module.set_extra_state


NAME = "layers.0._extra_state"


def train(runs: Path, model: Any = Remembering, **keys: Any) -> shoal.Run:
    words = {**QUICK, **{key.replace("__", "."): value for key, value in keys.items()}}
    return shoal.train("digits_mlp", words, model=model, runs=runs, quiet=True)


def kept_by(model: nn.Module) -> dict[str, Any]:
    return extra_state(model)[NAME]


def test_a_model_that_is_loaded_remembers_what_goes_with_its_weights(tmp_path: Path) -> None:
    run = train(tmp_path, best__metric="valid.loss")
    assert run.record["best"]["step"] < 24, "else the best would be the last"
    loaded = newest(RunFolder(run.folder).checkpoints)
    assert loaded is not None
    states = loaded.states["engine"]
    assert states["extra"][NAME]["calls"] > states["best_extra"][NAME]["calls"] > 0
    opened = shoal.load(run.folder, model=Remembering)
    for weights, saved in ((None, "best_extra"), ("best", "best_extra"), ("raw", "extra")):
        assert kept_by(opened.model(weights=weights)) == states[saved][NAME]
    assert opened.test() == {name: value for name, value in run.metrics.items() if name.startswith("test.")}


@pytest.mark.parametrize(
    ("level", "odd", "said"),
    [
        (
            Level,
            np.float64(1),
            rf"^engine\.extra\.{NAME}\.odd is a numpy\.float64, which a checkpoint cannot hold: keep",
        ),
        (Level, {"when": {1, 2}}, rf"^engine\.extra\.{NAME}\.odd\.when is a builtins\.set, which"),
        (Raising, None, rf"^{NAME}: get_extra_state of Raising raised ValueError: the file is closed \(.*line \d+, in"),
        (OneWay, None, rf"^{NAME}: OneWay has a get_extra_state and no set_extra_state, so that"),
    ],
)
def test_what_cannot_be_saved_is_named_before_the_first_step(
    tmp_path: Path, level: type[Level], odd: Any, said: str
) -> None:
    class Odd(Remembering):
        def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
            super().__init__(input_shape, outputs, level, odd)

    with pytest.raises(CheckpointError, match=said):
        train(tmp_path, Odd)
    (run,) = shoal.runs(tmp_path)
    assert (run.status, run.history) == ("failed", [])


def test_a_block_that_is_left_half_done_has_changed_nothing() -> None:
    model = Remembering((4,), 2)
    model(torch.ones(2, 4))
    before = dict(kept_by(model))

    def left() -> None:
        with lent(model, None):
            model(torch.ones(2, 4))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        left()
    assert kept_by(model) == before
    with lent(model, {NAME: {**before, "calls": 7}}):
        assert kept_by(model)["calls"] == 7
    assert kept_by(model) == before
    with lent(model, None):
        model(torch.ones(2, 4))
    assert kept_by(model)["calls"] == before["calls"] + 1


def test_what_another_model_kept_is_refused_and_what_was_not_saved_yet_is_left() -> None:
    model = Remembering((4,), 2)
    load_extra_state(model, None)
    assert kept_by(model)["calls"] == 0
    with pytest.raises(CheckpointError, match=rf"that of another model: {NAME}, other\._extra_state\."):
        load_extra_state(model, {"other._extra_state": 1})
    with pytest.raises(CheckpointError, match=r"^layers\.0\._extra_state: set_extra_state of Refusing raised KeyError"):
        load_extra_state(Remembering((4,), 2, Refusing), {NAME: {}})
    assert extra_state(network()) == {}


class Refusing(Level):
    def set_extra_state(self, state: Any) -> None:
        self.kept = {**state, "calls": state["calls"]}
