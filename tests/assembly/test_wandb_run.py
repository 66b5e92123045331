"""Copies for Weights & Biases, offline: the history exactly, once a step, whatever became of the training before."""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.api.programs import gan
from tests.faults.endings import children, cut_before

import shoal
from shoal.assembly import wandb_run
from shoal.errors import InputError
from shoal.training import SoloEngine

needs_wandb = pytest.mark.skipif(
    find_spec("wandb") is None, reason="wandb is not installed: pip install 'shoal[wandb]'"
)
BLOCK = 32768


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")


def ended() -> None:
    """End W&B's own process, which keeps what it was told and the variables that it has read."""
    if find_spec("wandb") is not None:
        import_module("wandb").teardown()


def records(path: Path) -> Iterator[Any]:
    """What a file of W&B holds: LevelDB's log format, with a protocol buffer a record."""
    ended()
    record = import_module("wandb.proto.wandb_internal_pb2").Record
    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if (left := BLOCK - at % BLOCK) < 7:
            at += left
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        piece = content[at + 7 : at + 7 + size]
        whole, at = (whole + piece if kind in (3, 4) else piece), at + 7 + size
        if kind in (1, 4):
            found = record()
            found.ParseFromString(whole)
            yield found


def copied(folder: Path) -> list[dict[str, Any]]:
    """The rows of the one copy in a run's folder, by W&B's step."""
    (path,) = folder.glob("wandb/*run-*/*.wandb")
    rows: list[dict[str, Any]] = []
    for found in records(path):
        if found.WhichOneof("record_type") == "history":
            row = {"/".join(item.nested_key): json.loads(item.value_json) for item in found.history.item}
            rows.append({name: value for name, value in row.items() if name not in ("_timestamp", "_runtime")})
    return rows


def expected(folder: Path) -> list[dict[str, Any]]:
    """The history as W&B should have it: one row a step."""
    rows: dict[int, dict[str, Any]] = {}
    for row in shoal.load(folder).history:
        rows.setdefault(row.pop("step"), {}).update(row)
    return [{**row, "_step": step} for step, row in rows.items()]


def train(runs: Path, **more: Any) -> shoal.Run:
    keys = {"budget.steps": 30, "evaluate.every": 10, "checkpoint.every": 10, "execution": "eager", "log.wandb": True}
    return shoal.train("digits_mlp", {**keys, **more}, runs=runs, quiet=True)


@needs_wandb
def test_the_copy_has_the_identity_the_recipe_every_row_and_how_it_ended(tmp_path: Path) -> None:
    run = train(tmp_path, **{"log.wandb_project": "digits", "optimizer.lr": 0.05})
    assert copied(run.folder) == expected(run.folder)
    (path,) = run.folder.glob("wandb/*run-*/*.wandb")
    found = {each.WhichOneof("record_type"): each for each in records(path)}
    begun = found["run"].run
    assert (begun.run_id, begun.project) == (f"{run.signature}-0", "digits")
    assert (begun.display_name, begun.run_group) == (run.label, run.folder.parent.name)
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["optimizer"]["lr"] == 0.05
    assert config["batch_size"] == 32
    assert found["exit"].exit.exit_code == 0
    assert {path.name for path in run.folder.iterdir()} <= shoal.store.layout.FILES


@needs_wandb
@pytest.mark.parametrize("step", [5, 15, 25])
def test_a_run_that_goes_on_has_every_step_once(step: int, tmp_path: Path) -> None:
    with cut_before(step):
        train(tmp_path, **{"log.every": 3})
    (failed,) = tmp_path.glob("*/seed-0")
    assert len(copied(failed)) == len(expected(failed))
    run = train(tmp_path, **{"log.every": 3})
    assert copied(run.folder) == expected(run.folder)


@needs_wandb
def test_a_loop_of_ones_own_has_it_too(tmp_path: Path) -> None:
    run = gan(tmp_path, wandb=True)
    assert copied(run.folder) == expected(run.folder)


@needs_wandb
def test_without_a_key_the_copy_is_kept_offline_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended()
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run = train(tmp_path)
    assert "its copy is kept offline; 'wandb sync' uploads it" in (run.folder / "train.log").read_text()
    assert copied(run.folder) == expected(run.folder)


@needs_wandb
@pytest.mark.faults
def test_the_training_goes_on_where_wandb_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform = SoloEngine.step

    def killing(self: SoloEngine, batch: Any, hyper: Any) -> None:
        if self.steps == 12:
            for pid in children(os.getpid()):
                if "wandb-core" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
        perform(self, batch, hyper)

    monkeypatch.setattr(SoloEngine, "step", killing)
    run = train(tmp_path)
    assert run.status == "finished"
    assert "no more is sent to Weights & Biases" in (run.folder / "train.log").read_text()


def test_where_it_is_not_installed_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_run, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed: pip install 'shoal\[wandb\]'"):
        train(tmp_path / "runs")
    with pytest.raises(InputError, match=r"not installed: pip install 'shoal\[wandb\]'"):
        gan(tmp_path / "runs", wandb=True)
    assert not (tmp_path / "runs").exists()
