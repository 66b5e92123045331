"""A process that ends at any file-system event of saving and pruning leaves a complete checkpoint of step n or n-1."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.faults.crash import crash

from shoal.checkpoints import damage, drop, newest, prune, save, sweep


def state(step: int, value: float | None = None) -> dict[str, Any]:
    return {"x": torch.full((1000,), step if value is None else value), "steps": step}


def put(folder: Path, step: int, value: float | None = None, **meta: Any) -> None:
    save(folder, step, {"engine": state(step, value), "callbacks": {"steps": step}}, meta)


def save_and_prune(folder: Path) -> None:
    """What a training does at a checkpoint: save, then keep two."""
    put(folder, 30)
    prune(folder, 2)


def evaluate_and_save(folder: Path) -> None:
    """What it does once the evaluation that was still due at step 20 is made."""
    put(folder, 20, value=21.0)
    prune(folder, 2)


def go_back(folder: Path) -> None:
    """What it does when it goes back to step 10: checkpoints of the course that is left are dropped."""
    drop(folder, lambda manifest: manifest["step"] > 10)


ACTIONS: dict[str, tuple[Callable[[Path], None], set[int], int]] = {
    "saved and pruned": (save_and_prune, {20, 30}, 2),
    "evaluated and saved again": (evaluate_and_save, {20}, 2),
    "gone back": (go_back, {10, 20}, 1),
}
"""What is done, the steps of which a checkpoint may then be the newest, and how many there are at least."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "checkpoints", 10)
    put(tmp_path / "checkpoints", 20, due=True)
    return tmp_path / "checkpoints"


@pytest.mark.faults
@pytest.mark.parametrize("action", ACTIONS)
def test_at_every_crash_point_a_complete_checkpoint_is_left(action: str, folder: Path, tmp_path: Path) -> None:
    work, steps, least = ACTIONS[action]
    found: list[int] = []
    copy, whole = tmp_path / "copy", tmp_path / "whole"
    shutil.copytree(folder, whole)
    work(whole)
    crashed = True
    while crashed:
        shutil.copytree(folder, copy)
        crashed = crash(lambda: work(copy), at=len(found), under=copy)
        sweep(copy)
        loaded = newest(copy)
        assert loaded is not None
        assert not loaded.passed_over, "nothing half-written may bear the name of a checkpoint"
        assert loaded.states["engine"]["steps"] == loaded.states["callbacks"]["steps"] == loaded.step
        assert float(loaded.states["engine"]["x"].unique()) in (loaded.step, 21.0)
        valid = [path for path in copy.iterdir() if damage(path) is None]
        assert len(valid) == len(list(copy.iterdir())) >= least
        work(copy)  # the next attempt gets through
        left = {path.relative_to(copy): path.read_bytes() for path in copy.glob("*/*")}
        assert left == {path.relative_to(whole): path.read_bytes() for path in whole.glob("*/*")}
        shutil.rmtree(copy)
        found.append(loaded.step)
    assert set(found) == steps
    assert len(found) >= 8


@pytest.mark.faults
@pytest.mark.parametrize("action", ["saved and pruned", "evaluated and saved again"])
def test_two_crashes_in_a_row_are_no_worse_than_one(action: str, folder: Path, tmp_path: Path) -> None:
    """The second attempt finds the leftovers of the first, before anything swept them."""
    copy, (work, steps, _) = tmp_path / "copy", ACTIONS[action]
    for first in range(0, 36, 3):
        shutil.copytree(folder, copy)
        for at in (first, first // 2):
            crash(lambda: work(copy), at=at, under=copy)
            sweep_of_a_copy = tmp_path / "seen"
            shutil.copytree(copy, sweep_of_a_copy)
            sweep(sweep_of_a_copy)
            loaded = newest(sweep_of_a_copy)
            shutil.rmtree(sweep_of_a_copy)
            assert loaded is not None
            assert not loaded.passed_over
            assert loaded.step in steps
        shutil.rmtree(copy)
