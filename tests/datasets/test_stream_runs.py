"""Whole runs on streams: to the end, killed and resumed to the same bits, identified, measured again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from torch import Tensor, nn
from torch.utils.data import IterableDataset, get_worker_info

import shoal
from shoal.checkpoints import newest
from shoal.errors import DataError, RecipeError, StoreError, TrainingError
from shoal.store import RunFolder

X = np.random.default_rng(0).normal(size=(60, 4)).astype("f4")
Y = (X[:, 0] > 0).astype(int)
STEPS = {"budget.steps": 40, "evaluate.every": 10, "checkpoint.every": 4, "batch_size": 8}


class Draws(IterableDataset):
    """Ninety points a pass, drawn from the global generator; with a marker, it is killed or fails, once, in pass 3."""

    classes = 2
    digest = "ninety points"

    def __init__(self, marker: Path | None = None) -> None:
        self.marker = marker
        self.number = 0

    def set_epoch(self, epoch: int) -> None:
        self.number = epoch

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        for place in range(90 if info is None else 90 // info.num_workers):
            if self.marker is not None and (self.number, place) == (2, 42) and not self.marker.exists():
                self.marker.touch()
                if info is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError("the line went dead")
            x = torch.randn(4)
            yield x, int(x[0] > 0)


class Lengthy(Draws):
    def __len__(self) -> int:
        return 90


class Floats(Draws):
    """Targets of 0 and 1, three an example."""

    def __iter__(self) -> Iterator[Any]:
        for x, _ in super().__iter__():
            yield x, (x[:3] > 0).float()


def train(runs: Path, source: Any, **settings: Any) -> shoal.Run:
    keys = {**STEPS, **settings.pop("keys", {})}
    if "model" not in settings:
        keys["model.depth"] = 1
    return shoal.train("table_mlp", keys, dataset=source, runs=runs, quiet=True, **settings)


def state(run: shoal.Run) -> dict[str, Tensor]:
    loaded = newest(RunFolder(run.folder).checkpoints)
    assert loaded is not None
    return loaded.states["engine"]["parameters"]


def test_a_stream_is_trained_on_and_evaluated_on_other_splits(tmp_path: Path) -> None:
    run = train(tmp_path, {"train": Draws(), "valid": (X, Y), "test": Draws()})
    assert run.metrics["valid.accuracy"] > 0.8
    assert run.metrics["test.accuracy"] > 0.8
    assert [row["step"] for row in run.history] == [10, 20, 30, 40, 40]
    assert run.record["data"]["sizes"] == {"valid": 60}
    again = shoal.load(run.folder, dataset={"train": Draws(), "valid": (X, Y), "test": Draws()})
    assert again.test() == {key: value for key, value in run.metrics.items() if key.startswith("test.")}
    log = (run.folder / "train.log").read_text()
    assert "on stream (train, 60 valid, test)" in log
    assert "exact only if it gives the same examples in the same order" in log


SCRIPT = """
import sys
from pathlib import Path
from tests.datasets.test_stream_runs import Draws, X, Y, train
runs = Path(sys.argv[1])
train(runs, {"train": Draws(runs / "killed"), "valid": (X, Y)})
"""


@pytest.mark.faults
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    words = [sys.executable, "-c", SCRIPT, str(tmp_path / "broken")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    (found,) = shoal.runs(tmp_path / "broken")
    assert found.status == "killed"
    said = resumed_to_the_same_bits(tmp_path)
    assert "resuming at step" in said


def test_a_run_whose_stream_failed_in_a_worker_ends_with_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    source = {"train": Draws(tmp_path / "broken" / "failed"), "valid": (X, Y)}
    with pytest.raises(TrainingError, match=r"the train stream \(Draws\) raised after 40 or .* OSError: the line went"):
        train(tmp_path / "broken", source, keys={"dataset.workers": 2})
    assert "is read again from its start: " in resumed_to_the_same_bits(tmp_path, workers=2)


def resumed_to_the_same_bits(folder: Path, workers: int = 0) -> str:
    """Resume the run in `broken`, compare it with one that was not interrupted, and return what was said."""
    source, keys = {"train": Draws(), "valid": (X, Y)}, {"dataset.workers": workers}
    whole = train(folder / "whole", source, keys=keys)
    resumed = train(folder / "broken", source, keys=keys)
    assert resumed.label == whole.label
    assert resumed.record["attempts"] == 2
    assert (resumed.folder / "history.jsonl").read_bytes() == (whole.folder / "history.jsonl").read_bytes()
    ours, theirs = state(resumed), state(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    return (resumed.folder / "train.log").read_text()


def test_a_stream_with_a_length_has_epochs(tmp_path: Path) -> None:
    keys = {"budget.epochs": 2, "evaluate.every": 1, "checkpoint.every": 1}
    run = shoal.train("table_mlp", {**keys, "batch_size": 8}, dataset=Lengthy(), runs=tmp_path, quiet=True)
    assert run.result["steps"] == 2 * (90 // 8)
    assert [row["epoch"] for row in run.history] == [1, 2]


def test_a_stream_without_a_length_needs_a_budget_of_steps(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"budget.epochs = 30: the train stream \(Draws\) has no length.*budget.steps"
    ):
        shoal.train("table_mlp", dataset=Draws(), runs=tmp_path, quiet=True)
    assert not list(tmp_path.iterdir())


def test_a_stream_that_ends_before_a_batch_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ended in its pass 1 without a batch of 91 examples"):
        train(tmp_path, Draws(), keys={"batch_size": 91})
    assert not list(tmp_path.iterdir())


def test_how_many_processes_share_a_stream_is_part_of_identity(tmp_path: Path) -> None:
    keys = {"budget.steps": 4}
    first = train(tmp_path, Draws(), keys=keys)
    assert train(tmp_path, Draws(), keys={**keys, "dataset.workers": 1}).label != first.label


def test_a_run_on_a_stream_is_tested_with_the_stream_passed_again(tmp_path: Path) -> None:
    run = train(tmp_path, Draws(), keys={"budget.steps": 4})
    with pytest.raises(StoreError, match="trained with a dataset from Python"):
        shoal.load(run.folder).test()


class Net(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_a_model_of_ones_own_is_tried_on_a_stream(tmp_path: Path) -> None:
    run = train(tmp_path, Draws(), model=Net)
    assert run.status == "finished"


def test_several_labels_from_a_stream(tmp_path: Path) -> None:
    run = train(tmp_path, {"train": Floats(), "valid": (X, (X[:, :3] > 0).astype("f4"))}, task="multilabel")
    assert run.metrics["valid.accuracy"] > 0.7
