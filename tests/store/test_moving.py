"""Folders that get another place: at every instant a run is found, and a kill on the way loses none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.faults.crash import crash
from tests.synthetic import make_run, signature

from shoal.errors import StoreError
from shoal.store import RunFolder, RunId, RunLock, find, record
from shoal.store.moving import adopt, between, rehome

OLD, NEW = signature("old"), signature("new")
RUN = RunId("digits", NEW, 0)


def move(runs: Path, folder: RunFolder, run: RunId = RUN, **changes: Any) -> RunFolder:
    with RunLock(folder):
        return rehome(runs, folder, run, recipe_yaml="seed: 0\n", **changes)


def test_a_run_gets_another_identity_and_keeps_what_it_has(tmp_path: Path) -> None:
    folder = make_run(tmp_path, of="old", history=3)
    history = folder.history.read_bytes()
    moved = move(tmp_path, folder, told="yes")
    assert moved.path == tmp_path / RUN.label
    assert find(tmp_path, NEW, 0) == moved
    assert find(tmp_path, OLD, 0) is None
    facts = record.read(moved)
    assert (facts["signature"], facts["told"], facts["status"]) == (NEW, "yes", "finished")
    assert moved.history.read_bytes() == history
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [f"digits-{NEW[:12]}"]


def test_other_seeds_and_what_was_set_aside_stay(tmp_path: Path) -> None:
    folder, other = make_run(tmp_path, of="old"), make_run(tmp_path, of="old", seed=1)
    move(tmp_path, folder)
    assert find(tmp_path, OLD, 1) == other


def test_a_folder_that_a_person_named_keeps_its_name(tmp_path: Path) -> None:
    made = make_run(tmp_path, of="old")
    made.path.parent.rename(tmp_path / "my best")
    moved = move(tmp_path, RunFolder(tmp_path / "my best" / "seed-0"))
    assert moved.path.parent.name == "my best"
    assert find(tmp_path, NEW, 0) == moved


def test_a_run_that_is_there_already_is_not_replaced(tmp_path: Path) -> None:
    folder, other = make_run(tmp_path, of="old"), make_run(tmp_path, of="new")
    with pytest.raises(StoreError, match=f"{folder.label} would become {other.label}, which is there already"):
        move(tmp_path, folder)
    assert record.read(folder)["signature"] == OLD


@pytest.mark.faults
def test_killed_at_any_instant_it_is_found_by_one_identity_and_brought_home(tmp_path: Path) -> None:
    at, between_seen = 0, 0
    while True:
        runs = tmp_path / str(at)
        folder = make_run(runs, of="old", history=2)
        if not crash(lambda runs=runs, folder=folder: move(runs, folder), at=at, under=runs):
            break
        found = [there for one in (OLD, NEW) if (there := find(runs, one, 0)) is not None]
        assert len(found) == 1, f"killed at event {at}"
        between_seen += between(found[0])
        assert record.read(found[0])["status"] == "finished"
        moved = move(runs, found[0])
        assert moved.path == runs / RUN.label
        assert record.read(moved)["signature"] == NEW
        assert moved.history.read_bytes().count(b"\n") == 2
        assert [path.parent.name for path in runs.glob("*/*")] == [moved.path.parent.name]
        shutil.rmtree(runs)
        at += 1
    assert at > 10
    assert between_seen >= 3


def test_a_prepared_folder_becomes_a_run_unless_there_is_one(tmp_path: Path) -> None:
    prepared = RunFolder(tmp_path / ".prepared")
    prepared.path.mkdir()
    record.update(prepared, signature=NEW, seed=0, name="digits")
    adopted = adopt(tmp_path, RUN, prepared.path)
    assert adopted.path == tmp_path / RUN.label
    prepared.path.mkdir()
    assert adopt(tmp_path, RUN, prepared.path) == adopted
    assert prepared.path.is_dir()
