"""A checkpoint is whole or absent: the order of what reaches the disk, and what is said when it cannot."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from shoal.checkpoints import damage, newest, save
from shoal.errors import CheckpointError, InputError

WRITE_UNTIL_FULL = """
import sys
from pathlib import Path
import torch
from shoal.checkpoints import newest, save
from shoal.errors import CheckpointError

folder = Path(sys.argv[1]) / "checkpoints"
save(folder, 1, {"engine": {"x": torch.arange(1000)}}, {})
try:
    save(folder, 2, {"engine": {"x": torch.zeros(1_000_000)}}, {})
except CheckpointError as error:
    print(error)
print(sorted(path.name for path in folder.iterdir()), newest(folder).states["engine"]["x"].sum().item())
"""


def test_everything_is_flushed_before_the_rename_and_the_rename_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[int | str] = []
    fsync, rename = os.fsync, Path.rename

    def recorded_fsync(handle: int) -> None:
        events.append(os.fstat(handle).st_ino)
        fsync(handle)

    def recorded_rename(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "rename", recorded_rename)
    folder = save(tmp_path, 3, {"engine": {"x": torch.ones(3)}, "callbacks": {}}, {})

    before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
    files = {path.stat().st_ino for path in folder.iterdir()}
    assert len(files) == 3
    assert set(before[:-1]) == files
    assert before[-1] == folder.stat().st_ino
    assert after == [tmp_path.stat().st_ino]


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    original = Path.open

    def recorded(path: Path, *arguments: Any, **keywords: Any) -> Any:
        written.append(path.name)
        return original(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", recorded)
    save(tmp_path, 3, {"engine": {}, "callbacks": {}}, {})
    assert written == ["engine.pt", "callbacks.pt", "manifest.json"]


def test_a_step_that_was_saved_is_left_as_it_is(checkpoints: Path) -> None:
    folder = checkpoints / "step-00000020"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert save(checkpoints, 20, {"engine": {"other": 1}}, {}) == folder
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_what_is_recorded_with_it_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 123456789, {"engine": {}}, {"position": [1, 2, 123456789], "seconds": 0.1 + 0.2, "note": "é"})
    loaded = newest(tmp_path)
    assert loaded is not None
    assert loaded.step == 123456789
    assert (loaded.meta["position"], loaded.meta["seconds"], loaded.meta["note"]) == ([1, 2, 123456789], 0.1 + 0.2, "é")


def test_a_leftover_of_the_same_process_number_is_no_hindrance(checkpoints: Path) -> None:
    leftover = checkpoints / f"step-00000030.tmp-{os.getpid()}"
    leftover.mkdir()
    (leftover / "engine.pt").write_bytes(b"half")
    assert damage(save(checkpoints, 30, {"engine": {}}, {})) is None
    assert not leftover.exists()


@pytest.mark.parametrize("name", ["../engine", "a/b", "", ".hidden"])
def test_a_state_cannot_be_named_out_of_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name a folder"):
        save(tmp_path / "checkpoints", 1, {name: {}}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["write", "fsync", "rename"])
def test_a_disk_that_refuses_leaves_what_was_there(
    failing: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target, name = {"write": (Path, "open"), "fsync": (os, "fsync"), "rename": (Path, "rename")}[failing]
    before = sorted(path.name for path in checkpoints.rglob("*"))
    with monkeypatch.context() as patched:
        patched.setattr(target, name, refuse)
        with pytest.raises(CheckpointError) as e:
            save(checkpoints, 30, {"engine": {"x": torch.zeros(500_000)}}, {})
    message = str(e.value)
    assert f"checkpoint of 2.0 MB to {str(checkpoints)!r}" in message
    assert "Its disk has" in message
    assert "B free: make room there, or choose another with --runs DIR" in message
    assert sorted(path.name for path in checkpoints.rglob("*")) == before
    loaded = newest(checkpoints)
    assert loaded is not None
    assert (loaded.step, loaded.passed_over) == (20, {})


def test_a_full_disk_is_no_riddle_where_the_folder_cannot_even_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CheckpointError, match=r"Its disk has [\d.]+ [kMGT]?B free"):
        save(tmp_path / "not" / "there", 1, {"engine": {}}, {})


@pytest.mark.faults
def test_on_a_real_full_disk_the_checkpoint_before_survives(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed, so no small disk can be mounted")
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=1500k none "$1" || exit 77; "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(small), sys.executable, WRITE_UNTIL_FULL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"a user may not mount a file system here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    message, left = done.stdout.splitlines()
    assert f"cannot write a checkpoint of 4.0 MB to '{small}/checkpoints': No space left on device." in message
    assert "Its disk has 1." in message
    assert left == "['step-00000001'] 499500"
