from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.synthetic import holder, make_run, signature

from shoal.errors import InputError, StoreError
from shoal.store import RunFolder, RunId, RunLock, create, notes, record, remove, summaries, sweep
from shoal.store.catalog import as_result


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "runs")


def test_tags_and_notes_are_a_plain_file_of_their_own(run: RunFolder) -> None:
    before = run.record.read_bytes()
    assert notes.of(run) == notes.Notes()
    assert notes.change(run, add=["paper", "good", "good"], note="  the baseline\r\nof table 2 ").tags == (
        "good",
        "paper",
    )
    assert notes.change(run, add=["new"], remove=["paper", "never there"]) == notes.of(run)
    notes.change(run, note="and more", append=True)
    known = {"format": 1, "tags": ["good", "new"], "note": "the baseline\nof table 2\nand more"}
    assert json.loads(run.notes.read_text()) == known
    assert run.record.read_bytes() == before
    (summary,) = summaries(run.path.parents[1])
    assert as_result(summary) == record.result(run)
    assert {key: record.result(run)[key] for key in ("tags", "note")} == {key: known[key] for key in ("tags", "note")}
    assert notes.change(run, remove=["good", "new"], note="") == notes.Notes()
    assert not {"tags", "note"} & set(record.result(run))


def test_nothing_that_changes_writes_nothing(run: RunFolder) -> None:
    notes.change(run, remove=["good"])
    assert not run.notes.exists()


def _tag_often(run: RunFolder, number: int) -> None:
    for index in range(12):
        notes.change(run, add=[f"tag-{number}-{index}".replace("-", "_")], remove=["never"])


def test_nothing_is_lost_where_several_tag_at_once(run: RunFolder) -> None:
    fork = multiprocessing.get_context("fork")
    several = [fork.Process(target=_tag_often, args=(run, number)) for number in range(4)]
    for process in several:
        process.start()
    for process in several:
        process.join()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(_tag_often, [run] * 3, range(4, 7)))
    assert set(notes.of(run).tags) == {f"tag_{number}_{index}" for number in range(7) for index in range(12)}


def test_a_live_run_is_tagged_and_stays_live(run: RunFolder) -> None:
    with holder(run):
        notes.change(run, add=["good"])
    look = (
        "import sys; from pathlib import Path; from shoal.store import *; print(is_live(RunFolder(Path(sys.argv[1]))))"
    )
    with RunLock(run):
        notes.change(run, add=["better"])
        command = [sys.executable, "-c", look, str(run.path)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
    assert notes.of(run).tags == ("better", "good")


@pytest.mark.parametrize("tag", ["", " ", "a b", "a,b", "+a", "-a", "a\x1b[31m", "a\u202e", "x" * 51, "\ud800"])
def test_what_cannot_be_a_tag_is_refused(run: RunFolder, tag: str) -> None:
    with pytest.raises(InputError, match=r"cannot be a tag: expected 1 to 50 characters without spaces") as caught:
        notes.change(run, add=["good", tag])
    assert str(caught.value).isprintable()
    assert not run.notes.exists()


def test_there_are_limits(run: RunFolder) -> None:
    with pytest.raises(InputError, match=r"would have 101 tags: at most 100 are kept"):
        notes.change(run, add=[f"tag{number}" for number in range(101)])
    notes.change(run, note="x" * 10_000)
    with pytest.raises(InputError, match=r"a note has at most 10,000 characters, and this one has 10,002"):
        notes.change(run, note="x", append=True)
    assert notes.of(run).note == "x" * 10_000


def test_a_note_keeps_nothing_that_acts(run: RunFolder) -> None:
    assert notes.change(run, note="\x1b[31mred\x00\u202e\tand\nmore\x7f").note == "[31mred\tand\nmore"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text('{"format": 2}'),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text(" " * 1_000_001),
        os.mkfifo,
        os.mkdir,
    ],
    ids=["half", "list", "no format", "newer", "deep", "large", "pipe", "folder"],
)
def test_a_damaged_file_hides_no_run_and_is_not_overwritten(run: RunFolder, spoil: Callable[[Path], object]) -> None:
    spoil(run.notes)
    before = run.notes.stat()
    assert notes.of(run) == notes.Notes()
    (summary,) = summaries(run.path.parents[1])
    assert (summary.status, summary.tags) == ("finished", ())
    said = str(notes.problem(run))
    assert str(run.notes) in said
    with pytest.raises(StoreError) as caught:
        notes.change(run, add=["good"])
    assert str(caught.value) == said
    assert run.notes.stat() == before


def test_values_of_other_types_are_ignored(run: RunFolder) -> None:
    run.notes.write_text('{"format": 1, "tags": ["b", 1, null, "a", "a"], "note": 3}')
    assert notes.of(run) == notes.Notes(("a", "b"), "")
    run.notes.write_text('{"format": 1, "tags": "text"}')
    assert notes.of(run) == notes.Notes()


def test_what_a_killed_process_left_is_removed_and_hinders_no_removal(tmp_path: Path) -> None:
    folder = create(tmp_path / "runs", RunId("digits", signature("digits"), 0))
    left = folder.path / ".notes.json.tmp-1"
    left.write_text("half")
    sweep(folder)
    assert left.exists(), "it may be another process's, which is about to rename it"
    notes.change(folder, add=["good"])
    assert not left.exists()
    left.write_text("half")
    remove(folder)
    assert not folder.path.exists()


def test_a_folder_that_cannot_be_written_is_said(run: RunFolder) -> None:
    (run.path / "notes.lock").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*notes\.json': Is a directory"):
        notes.change(run, add=["good"])
