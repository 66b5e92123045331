"""A process that ends at any file-system event of saving and pruning leaves a complete checkpoint of step n or n-1.

Every event that Python announces to audit hooks is a crash point: `os._exit` there is what SIGKILL does, at an instant
of our choosing. torch is imported once; the crashing processes are forks.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shoal.checkpoints import damage, newest, prune, save, sweep

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "shutil.rmtree")
CRASHED = 42


def state(step: int) -> dict[str, Any]:
    return {"x": torch.full((1000,), float(step)), "steps": step}


def work(folder: Path) -> None:
    """What a training does at a checkpoint: save, then keep two."""
    save(folder, 30, {"engine": state(30), "callbacks": {"steps": 30}}, {"position": [0, 0, 30]})
    prune(folder, 2)


def crash(action: Callable[[], None], *, at: int) -> bool:
    """Run `action` in a fork that ends at its event number `at`; return whether it got that far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        pid = os.fork()
    if pid == 0:
        seen = 0

        def hook(event: str, arguments: Any) -> None:
            nonlocal seen
            if event in EVENTS:
                if seen == at:
                    os._exit(CRASHED)
                seen += 1

        code = 1
        try:
            sys.addaudithook(hook)
            action()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, CRASHED)
    return code == CRASHED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (10, 20):
        save(tmp_path / "checkpoints", step, {"engine": state(step), "callbacks": {"steps": step}}, {})
    return tmp_path / "checkpoints"


@pytest.mark.faults
def test_at_every_crash_point_a_complete_checkpoint_is_left(folder: Path, tmp_path: Path) -> None:
    found: list[int] = []
    copy = tmp_path / "copy"
    while True:
        shutil.copytree(folder, copy)
        crashed = crash(lambda: work(copy), at=len(found))
        sweep(copy)
        loaded = newest(copy)
        assert loaded is not None
        assert not loaded.passed_over, "nothing half-written may bear the name of a checkpoint"
        assert loaded.states["engine"]["steps"] == loaded.states["callbacks"]["steps"] == loaded.step
        assert torch.equal(loaded.states["engine"]["x"], state(loaded.step)["x"])
        valid = [path for path in copy.iterdir() if damage(path) is None]
        assert len(valid) == len(list(copy.iterdir())) >= 2
        work(copy)  # the next attempt gets through
        assert sorted(path.name for path in copy.iterdir()) == ["step-00000020", "step-00000030"]
        shutil.rmtree(copy)
        if not crashed:
            break
        found.append(loaded.step)
    assert found == sorted(found)
    assert set(found) == {20, 30}
    assert len(found) >= 10


@pytest.mark.faults
def test_two_crashes_in_a_row_are_no_worse_than_one(folder: Path, tmp_path: Path) -> None:
    """The second attempt finds the leftovers of the first, before anything swept them."""
    copy = tmp_path / "copy"
    for first in range(0, 30, 3):
        shutil.copytree(folder, copy)
        for at in (first, first // 2):
            crash(lambda: work(copy), at=at)
            loaded = newest(copy)
            assert loaded is not None
            assert not loaded.passed_over
        shutil.rmtree(copy)
