"""Disks that are full, read-only, broken or gone: said before training or recorded; what was saved is not lost."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal.cli import main
from shoal.training import SoloEngine
from tests.faults.attempts import QUICK, ROOT, record
from tests.faults.chaos import result


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of trainings on small disks, which only root of a namespace may mount."""
    namespace = ["unshare", "-rm"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*namespace, "mount", "-t", "tmpfs", "none", "/mnt"]).returncode
    ):
        pytest.skip("this machine does not let a user mount a file system in a namespace")
    command = [*namespace, sys.executable, "-m", "tests.faults.small_disks", str(tmp_path_factory.mktemp("disks"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("disk", "word"),
    [("read-only", "it is read-only for this user"), ("full", "No space left on device. Its disk has 0 B")],
)
def test_a_disk_that_takes_nothing_is_found_before_training(disks: dict[str, Any], disk: str, word: str) -> None:
    found = disks[disk]
    assert (found["code"], found["out"]) == (2, "")
    assert word in found["err"]
    assert "--runs DIR" in found["err"]


@pytest.mark.faults
def test_what_cannot_be_removed_is_said_with_what_helps_and_stays(disks: dict[str, Any]) -> None:
    found = disks["rm"]
    assert (found["code"], found["out"], found["left"]) == (2, "", True)
    assert "cannot be removed, for '" in found["err"]
    assert "is read-only for this user: nothing was removed. Allow writing there" in found["err"]
    assert "--runs DIR" not in found["err"]


@pytest.mark.faults
def test_a_disk_without_room_for_three_checkpoints_is_found_before_the_first_step(disks: dict[str, Any]) -> None:
    found = disks["small"]
    assert found["code"] == 2
    assert re.search(r"has 2\.\d MB free and this run needs about 3\.\d MB: make room, or", found["err"])
    assert found["saved"] == []


@pytest.mark.faults
@pytest.mark.parametrize(
    ("when", "said"),
    [("save", "cannot write a checkpoint of 1.2 MB to"), ("rows", "cannot write to the folder of the run")],
)
def test_a_disk_that_fills_up_fails_the_run_says_so_in_its_record_and_keeps_what_was_saved(
    disks: dict[str, Any], when: str, said: str
) -> None:
    found = disks[when]
    assert found["code"] == 1
    assert said in found["err"]
    assert re.search(r"No space left on device\. Its disk has [\d.]+ k?B free", found["err"])
    assert "make room there" in found["err"]
    assert "Traceback" not in found["err"]
    assert found["record"]["status"] == "failed"
    assert said in found["record"]["reason"]
    assert "reserve" not in found["files"]
    assert not [name for name in found["files"] if "tmp" in name]
    assert found["verified"] == 0
    assert found["again"] == 0
    assert found["same"]


@pytest.mark.faults
@pytest.mark.parametrize(("what", "code"), [("report", 2), ("weights", 1), ("history", 1)])
def test_what_is_written_for_people_on_a_full_disk_leaves_nothing_half(
    disks: dict[str, Any], what: str, code: int
) -> None:
    found = disks["pages"]
    assert (found[what]["code"], found[what]["out"]) == (code, "")
    assert "cannot write" in found[what]["err"]
    assert "No space left on device" in found[what]["err"]
    assert "Traceback" not in found[what]["err"]
    assert found["left"] == ["fill"]


def at_step(number: int, act: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Do something before the step of this number, when no checkpoint is being written."""
    step, calls = SoloEngine.step, list[int]()

    def stepping(self: SoloEngine, batch: Any, hyper: Any) -> None:
        calls.append(1)
        if len(calls) == number:
            for thread in threading.enumerate():
                if thread.name == "checkpoint":
                    thread.join()
            act()
        step(self, batch, hyper)

    patch.setattr(SoloEngine, "step", stepping)


@pytest.mark.faults
def test_a_limit_on_the_size_of_files_is_said_and_the_run_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], alone: dict[str, bytes]
) -> None:
    words, before = ["train", *QUICK, "--runs", str(tmp_path)], resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        at_step(15, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1])), patch)
        try:
            assert main(words) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    assert "cannot write a checkpoint of 43.5 kB" in said
    assert "files may not become that large" in said
    assert record(tmp_path)["status"] == "failed"
    assert main(words) == 0
    assert result(tmp_path) == alone


@pytest.mark.faults
@pytest.mark.parametrize(("which", "what"), [(1, "to the folder of the run"), (3, "a checkpoint of 43.5 kB"), (6, "")])
def test_a_disk_that_breaks_while_a_checkpoint_is_written_fails_the_run_and_keeps_the_one_before(
    which: int,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alone: dict[str, bytes],
) -> None:
    """Flushed are both journals, two files of state, the manifest and the folder, in this order."""
    words, armed, flush = ["train", *QUICK, "--runs", str(tmp_path)], list[int](), os.fsync

    def breaking(handle: int) -> None:
        if armed and threading.current_thread().name == "checkpoint":
            armed.append(1)
            if len(armed) == which + 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", breaking)
        at_step(15, lambda: armed.append(1), patch)
        assert main(words) == 1
    said = capsys.readouterr().err
    assert f"cannot write {what}" in said
    assert "Input/output error" in said
    assert "Traceback" not in said
    assert record(tmp_path)["status"] == "failed"
    (checkpoints,) = tmp_path.glob("*/seed-0/checkpoints")
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step-00000000", "step-00000010"]
    assert main(words) == 0
    assert result(tmp_path) == alone


@pytest.mark.faults
@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_a_folder_that_goes_away_ends_the_training_and_does_not_come_back(
    how: str,
    tmp_path: Path,
    start: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alone: dict[str, bytes],
) -> None:
    runs, aside = tmp_path / "runs", tmp_path / "aside"
    words = ["train", *QUICK, "--runs", str(runs)]

    def act() -> None:
        (folder,) = runs.glob("*/seed-0")
        shutil.rmtree(folder) if how == "removed" else folder.rename(aside)
        if how == "replaced":
            assert start(*words).end() == 0, "another process trains the run anew"

    with monkeypatch.context() as patch:
        at_step(15, act, patch)
        assert main(words) == 1
    assert "was removed, renamed or replaced while the run was trained" in capsys.readouterr().err
    assert len(list(runs.glob("*/seed-0"))) == (how == "replaced")
    if how == "replaced":
        assert record(runs)["status"] == "finished", "the other's record says nothing of this one's failure"
    if how == "renamed":
        (experiment,) = runs.glob("*-*")
        aside.rename(experiment / "seed-0")
    assert main(words) == 0
    assert result(runs) == alone
