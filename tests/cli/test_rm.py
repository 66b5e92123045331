from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import holder, make_run, signature

from shoal.store import RunFolder, RunLock


@pytest.fixture
def folder(runs: Path) -> RunFolder:
    return make_run(runs)


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))


def test_in_a_pipe_nothing_is_removed_without_yes(shoal: Any, folder: RunFolder) -> None:
    answer = shoal("rm", "digits")
    assert answer.code == 2
    assert "1 run would be deleted for good, and there is no terminal to ask on: say --yes." in answer.err
    assert folder.record.exists()


def test_with_yes_a_run_goes_and_its_experiment_with_the_last(shoal: Any, runs: Path, folder: RunFolder) -> None:
    other = make_run(runs, seed=1)
    answer = shoal("rm", "--yes", "digits/seed-0", folder.label)
    assert (answer.code, answer.out) == (0, f"removed {folder.label}\n")
    assert not folder.path.exists()
    assert shoal("rm", "-y", "digits").code == 0
    assert not other.path.parent.exists()


def test_json_has_one_object_for_each_run_that_went(shoal: Any, folder: RunFolder) -> None:
    answer = shoal("rm", "--yes", "digits", "--json")
    (gone,) = [json.loads(line) for line in answer.lines]
    assert (gone["run"], gone["status"], Path(gone["folder"]).name) == (folder.label, "finished", "seed-0")
    assert not folder.path.exists()


def test_a_live_run_is_refused_and_no_other_removed(shoal: Any, runs: Path, folder: RunFolder) -> None:
    other = make_run(runs, "other")
    with RunLock(folder):
        answer = shoal("rm", "--yes", "other", "digits")
    assert answer.code == 2
    assert "is being trained by process" in answer.err
    assert other.record.exists()
    with holder(folder) as process:
        assert f"process {process.pid}" in shoal("rm", "--yes", "digits").err


def test_a_folder_that_is_no_run_is_refused(shoal: Any, tmp_path: Path, runs: Path, folder: RunFolder) -> None:
    precious = runs / f"thesis-{signature('thesis')[:12]}" / "seed-1"
    precious.mkdir(parents=True)
    (precious / "chapter.tex").write_text("")
    (tmp_path / "link").symlink_to(folder.path)
    for path in (".", "runs", "..", "/", str(precious), "link"):
        answer = shoal("rm", "--yes", path)
        assert answer.code == 2, path
    assert folder.record.exists()
    assert (precious / "chapter.tex").exists()


def test_several_seeds_must_be_named(shoal: Any, runs: Path, folder: RunFolder) -> None:
    make_run(runs, seed=1)
    answer = shoal("rm", "--yes", "digits")
    assert answer.code == 2
    assert "means 2 runs" in answer.err
    assert folder.record.exists()


@pytest.mark.parametrize(("said", "code", "kept"), [("y\n", 0, False), ("n\n", 1, True), ("\n", 1, True)])
def test_on_a_terminal_it_asks(tmp_path: Path, folder: RunFolder, said: str, code: int, kept: bool) -> None:
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "shoal", "rm", "digits"], cwd=tmp_path, stdin=there, stdout=there, stderr=there
    )
    os.close(there)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(here, 1000)
    os.write(here, said.encode())
    assert process.wait(60) == code
    os.close(here)
    assert folder.label.encode() in shown
    assert b"Delete 1 run for good?" in shown
    assert folder.record.exists() == kept
