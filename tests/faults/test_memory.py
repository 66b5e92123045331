"""Memory that really runs out: a process with a limit, and a model that allocates by the example."""

from __future__ import annotations

import functools
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import shoal
from shoal.checkpoints import newest
from shoal.errors import OutOfMemoryError
from shoal.store import RunFolder
from tests.faults.endings import done

pytestmark = pytest.mark.faults
SPARE, EXAMPLE = 640 << 20, 32 << 20
"""Bytes that a process may still take once it is limited; bytes that a step takes for each example."""
BATCH = 32
X = np.random.default_rng(0).normal(size=(4 * BATCH, 6)).astype("f4")
Y = (X[:, 0] > 0).astype(int)


class Hungry(nn.Module):
    """A small network that needs much memory to be trained; `norm` is a batch norm, or none."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, norm: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(input_shape[0]) if norm else nn.Identity()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            torch.empty(len(x) * EXAMPLE, dtype=torch.uint8)
        return self.layer(self.norm(x))


def train(runs: Path, *, norm: bool = False, **keys: Any) -> shoal.Run:
    words: dict[str, Any] = {
        "batch_size": BATCH, "budget.steps": 1, "execution": "eager", "optimizer": "sgd", "optimizer.lr": 1.0,
        "optimizer.momentum": 0, "schedules.lr": "constant",
    }  # fmt: skip
    words |= {key.replace("__", "."): value for key, value in keys.items()}
    model = functools.partial(Hungry, norm=norm)
    return shoal.train(words, model=model, dataset={"train": (X, Y), "valid": (X, Y)}, runs=runs, quiet=True)


def limited(action: Callable[[], Any]) -> Callable[[], int]:
    """Perform an action in so little memory; 1 where memory runs out, as Shoal says it."""

    def perform() -> int:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + SPARE, size + SPARE))
        try:
            action()
        except OutOfMemoryError:
            return 1
        return 0

    return perform


def weights(run: shoal.Run) -> dict[str, Tensor]:
    loaded = newest(RunFolder(run.folder).checkpoints)
    assert loaded is not None
    return loaded.states["engine"]["parameters"]


def test_a_step_that_finds_no_memory_goes_on_in_parts_with_the_same_gradient(tmp_path: Path) -> None:
    assert done(limited(lambda: train(tmp_path / "limited", guard__memory="halve"))) == 0
    (run,) = shoal.runs(tmp_path / "limited")
    assert run.status == "finished"
    parts = [decision["accumulate"] for decision in run.record["guard"]]
    assert parts in ([2], [2, 4])
    assert f"memory ran out at step 1: from here on the gradient is computed in {parts[-1]} parts" in (
        run.folder / "train.log").read_text()  # fmt: skip
    enough = train(tmp_path / "enough")
    assert "guard" not in enough.record
    for name, value in weights(enough).items():  # one step from the same weights: what differs is the gradient
        torch.testing.assert_close(weights(run)[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("norm", "keys", "said"),
    [
        (False, {}, "memory ran out at step 1, on a batch of 32 examples. Add accumulate=2 or more"),
        (True, {}, "memory ran out at step 1. norm is a batch norm, whose statistics are those of the whole batch"),
        (True, {"guard__memory": "halve"}, "guard.memory=halve cannot help: norm is a batch norm"),
    ],
)
def test_else_the_run_stops_with_a_sentence_and_goes_on_where_there_is_more(
    tmp_path: Path, norm: bool, keys: dict[str, Any], said: str
) -> None:
    assert done(limited(lambda: train(tmp_path / "limited", norm=norm, **keys))) == 1
    (run,) = shoal.runs(tmp_path / "limited")
    assert run.status == "failed"
    assert said in run.record["reason"]
    assert "guard" not in run.record
    again = train(tmp_path / "limited", norm=norm, **keys)
    enough = train(tmp_path / "enough", norm=norm)
    assert again.status == "finished"
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(enough).items())
