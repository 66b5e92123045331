"""Folders in the cache: built once, checked at every use, built again where they are not whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal.datasets import kept as room
from shoal.datasets.kept import cache_folder, ensure_space, kept, key_of
from shoal.errors import DataError

KEY = "0" * 32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    """Writes one file, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.times += 1
        (folder / "numbers").write_bytes(bytes(range(100)))
        return {"count": 100}


def test_a_folder_is_built_once() -> None:
    build = Builder()
    first, second = kept("things", KEY, build), kept("things", KEY, build)
    assert build.times == 1
    assert first == second
    assert first.path == cache_folder() / "things" / KEY
    assert (first.facts, first.notes) == ({"count": 100}, ())
    assert sorted(path.name for path in first.path.iterdir()) == ["manifest.json", "numbers"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


DAMAGES: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: flip(folder / "numbers"), "numbers is not what was written"),
    (lambda folder: (folder / "numbers").write_bytes(b"short"), "numbers is not what was written"),
    (lambda folder: (folder / "numbers").unlink(), "numbers is missing"),
    (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    (lambda folder: (folder / "manifest.json").write_text('{"fac'), "manifest.json: JSONDecodeError"),
    (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json: TypeError"),
    (lambda folder: (folder / "manifest.json").write_text('{"files": {"numbers": {}}}'), "manifest.json: KeyError"),
]


@pytest.mark.parametrize(("damage", "trouble"), DAMAGES)
def test_a_damaged_folder_is_built_again_and_that_is_said(damage: Callable[[Path], Any], trouble: str) -> None:
    build = Builder()
    damage(kept("things", KEY, build).path)
    again = kept("things", KEY, build)
    assert build.times == 2
    assert again.notes == (f"{again.path} was damaged ({trouble}) and has been made again",)
    assert (again.path / "numbers").read_bytes() == bytes(range(100))
    assert kept("things", KEY, build).notes == ()


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def failing(folder: Path) -> dict[str, Any]:
        (folder / "numbers").write_bytes(b"half")
        raise DataError("a broken picture")

    with pytest.raises(DataError, match="a broken picture"):
        kept("things", KEY, failing)
    assert [path.name for path in (cache / "things").iterdir()] == [f"{KEY}.lock"]


BUILDING = """
import os, sys, time
from shoal.datasets.kept import kept

def build(folder):
    print("building", flush=True)
    (folder / "numbers").write_bytes(bytes(range(50)))
    if "killed" in sys.argv:
        os._exit(9)
    time.sleep(0.5)
    (folder / "numbers").write_bytes(bytes(range(100)))
    return {"count": 100}

print(kept("things", "0" * 32, build).facts, flush=True)
"""


def building(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILDING, *words], stdout=subprocess.PIPE, text=True)


def test_a_build_that_was_killed_is_begun_anew_and_swept_up(cache: Path) -> None:
    with building("killed") as process:
        assert process.wait() == 9
    assert [path.name for path in (cache / "things").glob("*.part-*/*")] == ["numbers"]
    assert kept("things", KEY, Builder()).facts == {"count": 100}
    assert sorted(path.name for path in (cache / "things").iterdir()) == [KEY, f"{KEY}.lock"]


def test_of_processes_that_build_at_once_one_does_and_the_other_waits() -> None:
    build = Builder()
    with building() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        found = kept("things", KEY, build)  # meanwhile
        assert process.stdout.read() == "{'count': 100}\n"
    assert build.times == 0
    assert (found.path / "numbers").read_bytes() == bytes(range(100))
    assert found.notes == ()


def test_a_full_disk_is_found_before_anything_is_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(cache.parent)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: usage._replace(free=100_000_000))
    ensure_space(cache, 30_000_000)
    message = r"needs 40\.0 MB and its disk has 100\.0 MB free\. Make room, .*dataset\.size.*: SHOAL_CACHE=DIR\."
    with pytest.raises(DataError, match=message):
        ensure_space(cache, 40_000_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_disk_that_fills_up_meanwhile_is_said(cache: Path) -> None:
    def full(folder: Path) -> dict[str, Any]:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")
        return {}

    with pytest.raises(DataError, match=r"cannot be written: No space left on device\. .*SHOAL_CACHE=DIR"):
        kept("things", KEY, full)
    assert not (cache / "things" / KEY).exists()


def test_a_cache_that_cannot_be_made_is_said(cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(DataError, match=r"the cache in .*/cache cannot be written: .*SHOAL_CACHE=DIR"):
        kept("things", KEY, Builder())


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/shoal")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "shoal"


def test_a_key_stands_for_all_that_is_asked_and_for_the_source() -> None:
    assert key_of({"a": 1, "b": 2}, ["x"]) == key_of({"b": 2, "a": 1}, ["x"])
    assert len({key_of({"a": 1}, ["x"]), key_of({"a": 2}, ["x"]), key_of({"a": 1}, ["x", ""]), key_of({}, ["x"])}) == 4
    assert len(key_of({}, ["caf\udce9.png"])) == 32


def test_the_manifest_can_be_read_by_a_person() -> None:
    found = kept("things", KEY, Builder())
    manifest = json.loads((found.path / "manifest.json").read_text())
    assert manifest["facts"] == {"count": 100}
    assert manifest["files"]["numbers"]["bytes"] == 100
