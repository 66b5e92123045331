"""Restarts by a launcher: a killed process goes on, one that fails in the same way is given up, ranks are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shoal.assembly.launch import failure
from shoal.checkpoints import save
from shoal.cli import main
from shoal.store import RunFolder
from shoal.store import record as records
from tests.faults.attempts import POINTS, QUICK, ROOT, record
from tests.faults.chaos import result

DIVERGES = ("optimizer.lr=1e20",)


@pytest.mark.faults
def test_torchrun_starts_a_killed_process_again_and_the_run_ends_bit_identical(
    tmp_path: Path, points: dict[str, bytes]
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", "--max-restarts=2"]
    command += ["-m", "shoal", "train", *POINTS, "checkpoint.every=0.5", "--runs", str(tmp_path / "runs")]
    environment = {**os.environ, "TROUBLE": f"100 {tmp_path}/flag dies"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "flag").exists()
    assert "resuming at step" in done.stdout
    assert record(tmp_path / "runs")["attempts"] == 2
    assert result(tmp_path / "runs") == points


@pytest.mark.parametrize(("ranks", "code"), [("2", 2), ("1", 0), ("", 0), ("many", 0)])
def test_one_of_several_ranks_is_refused_before_anything_is_written(
    ranks: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", ranks)
    assert main(["train", *QUICK, "--runs", str(tmp_path / "runs")]) == code
    said = capsys.readouterr().err
    assert ("training on several devices is not there yet" in said) == (code == 2)
    assert (tmp_path / "runs").exists() == (code == 0)


@pytest.mark.faults
@pytest.mark.parametrize("launcher", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_a_launcher_gives_up_what_fails_twice_in_the_same_way_and_a_person_is_obeyed(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", *QUICK, *DIVERGES, "--runs", str(tmp_path)]
    assert main(words) == 1
    monkeypatch.setenv(launcher, "1")
    assert main(words) == 1, "once more may help"
    before = record(tmp_path)
    assert before["failure"]["times"] == 2
    capsys.readouterr()
    monkeypatch.setenv(launcher, "2")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "is given up: it failed 2 times in a row without a new checkpoint" in said
    assert before["failure"]["reason"].rstrip(".") in said
    assert f"({launcher} = 2)" in said
    assert record(tmp_path) == before, "nothing was changed"
    monkeypatch.setenv(launcher, "0")
    assert main(words) == 1, "a person started it"
    assert record(tmp_path)["failure"]["times"] == 3


def test_failures_are_counted_while_they_are_the_same_and_nothing_was_saved_in_between(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    def fail(reason: str) -> int:
        found = failure(folder, reason)
        records.update(folder, failure=found)
        return int(found["times"])

    state: Any = {"engine": {}}
    assert [fail("a"), fail("a"), fail("b"), fail("a"), fail("a")] == [1, 2, 1, 1, 2]
    save(folder.checkpoints, 5, state, {})
    assert [fail("a"), fail("a")] == [1, 2]
    save(folder.checkpoints, 6, state, {})
    assert [fail("b"), fail("b")] == [1, 2]
