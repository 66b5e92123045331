"""Files that are whole or absent, names that are safe, folders that are refused before work is done."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from pathlib import Path

import pytest

from shoal import files
from shoal.errors import InputError, StoreError


@pytest.mark.parametrize("name", ["a", "mnist_cnn", "v1.2-rc", "0", "x" * 100])
def test_names_that_can_stand_as_a_folder_are_taken(name: str) -> None:
    assert files.safe_name(name) == name


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "a b", "a\0b", "x" * 101, "ü", "a\n"])
def test_names_that_cannot_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InputError, match=r"expected 1 to 100 letters, digits, '\.', '_' or '-'"):
        files.safe_name(name)


def test_a_long_name_is_shown_short() -> None:
    with pytest.raises(InputError) as caught:
        files.safe_name("a" * 300)
    assert "(300 characters)" in str(caught.value)
    assert "a" * 100 not in str(caught.value)


def test_an_atomic_write_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    files.write_atomic(target, "one")
    files.write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "run.json"
    files.write_atomic(target, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomic(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_an_atomic_write_flushes_before_it_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def flushed(handle: int) -> None:
        order.append("fsync")
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    files.write_atomic(tmp_path / "file", "x")
    assert order == ["fsync", "rename", "fsync"]


def test_json_has_no_word_for_what_is_not_finite() -> None:
    value = {"a": math.nan, "b": [math.inf, 1.5, (-math.inf, 2)], "c": None, "d": "ü"}
    assert json.loads(files.to_json(value)) == {"a": None, "b": [None, 1.5, [None, 2]], "c": None, "d": "ü"}


def test_the_checksum_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert files.sha256_file(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_sizes_round_to_the_next_unit() -> None:
    assert [files.size(n) for n in (0, 999, 1000, 999_999, 2**50)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.0 MB",
        "1,125.9 TB",
    ]


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = files.writable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not list(folder.iterdir())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place that takes no new folders")
@pytest.mark.parametrize("below", ["x", "x/runs"])
def test_a_place_that_takes_no_folders_is_named(below: str) -> None:
    with pytest.raises(
        StoreError, match=rf"cannot make the folder '/proc/{below}': '/proc' takes no new folders \(.*--runs DIR"
    ):
        files.writable_folder(Path("/proc") / below)


@pytest.mark.parametrize("below", ["", "/runs", "/deep/er"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file' is a file, not a folder\. Choose another with --runs DIR"):
        files.writable_folder(Path(f"{tmp_path}/file{below}"))


def test_a_disk_with_too_little_room_is_said_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has [\d.]+ [kMGT]?B free and this run needs about 1,000,000\.0 TB"):
        files.writable_folder(tmp_path, needed_bytes=10**18)


def test_what_replaces_a_file_is_whole_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail_halfway() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "before"
    with files.replacing(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "after"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"Its disk has [\d.]+ [kMGT]?B free: make room there"),
        (errno.EROFS, "it is read-only for this user"),
        (errno.EFBIG, r"files may not become that large .*\(ulimit -f\)"),
        (errno.ENOENT, "it is not there any more .*removed or renamed"),
        (errno.EIO, r"Input/output error\. Choose another folder"),
    ],
)
def test_why_a_folder_takes_nothing_is_said_with_what_to_do(tmp_path: Path, number: int, said: str) -> None:
    assert re.search(said, files.why(OSError(number, os.strerror(number)), tmp_path / "gone"))
