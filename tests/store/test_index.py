"""The index of a runs folder: lists say with it what they say without it, whatever became of it and of the runs."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.synthetic import make_run

from shoal.store import RunId, RunLock, Summary, create, index, notes, record, remove, resolve, set_aside, summaries
from shoal.store.layout import INDEX, RunFolder

COUNT = 6


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few runs make an index, are fetched ahead, and files that have just been written may be kept in it."""
    monkeypatch.setattr(index, "FEW", 1)
    monkeypatch.setattr(index, "MANY", 1)
    monkeypatch.setattr(index, "SETTLED_NS", 0)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Six runs, in every status, and the index of a list of them."""
    folder = tmp_path / "runs"
    for number, status in enumerate(("finished", "finished", "failed", "stopped", "running", "queued")):
        metrics = {"test.accuracy": number / 10, "test.loss": float("nan")} if status == "finished" else {}
        make_run(folder, f"run{number}", status=status, metrics=metrics, history=2)
    summaries(folder)
    assert (folder / INDEX).is_file()
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose record is opened from here on; that of a killed one always is."""
    seen: list[str] = []
    own = Path.open

    def noted(self: Path, *arguments: object, **options: object) -> object:
        if self.name == "run.json" and not self.parent.parent.name.startswith("run4-"):
            seen.append(self.parent.parent.name)
        return own(self, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", noted)
    return seen


def without_index(runs: Path) -> list[Summary]:
    (runs / INDEX).unlink(missing_ok=True)
    found = summaries(runs)
    (runs / INDEX).unlink(missing_ok=True)
    return found


def same(one: list[Summary], other: list[Summary]) -> bool:
    return repr(one) == repr(other)  # NaN is not equal to itself


def the(runs: Path, name: str) -> RunFolder:
    return resolve(runs, name)


def test_files_that_are_the_same_are_not_read_again(
    runs: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = summaries(runs)
    assert len(first) == COUNT
    assert resolve(runs, "run3").label == first[3].label
    monkeypatch.chdir(runs)
    assert [run.label for run in summaries(Path())] == [run.label for run in first]
    assert not opened
    assert same(first, without_index(runs))
    assert len(opened) == COUNT - 1


def test_a_change_is_seen_that_left_length_and_time(runs: Path, opened: list[str]) -> None:
    path = the(runs, "run0").record
    before, content = path.stat(), path.read_text()
    path.write_text(content.replace('"steps": 40', '"steps": 41'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_mtime_ns, before.st_size, before.st_ino) == (after.st_mtime_ns, after.st_size, after.st_ino)
    opened.clear()
    assert [run.steps for run in summaries(runs)][:2] == [41, 40]
    assert len(opened) == 1


def test_what_changed_a_moment_ago_is_read_again(
    runs: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / INDEX).unlink()
    monkeypatch.undo()
    monkeypatch.setattr(index, "FEW", 1)
    summaries(runs)
    assert not (runs / INDEX).exists()


def test_few_files_are_read_rather_than_kept(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    before = (runs / INDEX).read_bytes()
    make_run(runs, "another")
    assert len(summaries(runs)) == COUNT + 1
    assert (runs / INDEX).read_bytes() == before


def _flipped(content: bytes) -> bytes:
    return content.replace(b'"steps":40', b'"steps":90')


def _other_head(**changes: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        head, _, body = content.partition(b"\n")
        return json.dumps({**json.loads(head), **changes}).encode() + b"\n" + body

    return change


def _other_body(body: bytes) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        head = {**json.loads(content.partition(b"\n")[0]), "crc": index.zlib.crc32(body)}
        return json.dumps(head).encode() + b"\n" + body

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"\0" * len(content),
        lambda content: b"[" * 100_000,
        _flipped,
        _other_head(format=index.FORMAT + 1),
        _other_head(edition=["another"]),
        _other_body(b"[]"),
        _other_body(b'{"run0/seed-0/run.json": 1, "run1/seed-0/run.json": ["1 2 3 4", "text"]}'),
    ],
)
def test_an_index_that_is_spoilt_or_foreign_changes_nothing(runs: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = runs / INDEX
    spoilt, known = spoil(path.read_bytes()), without_index(runs)
    path.write_bytes(spoilt)
    assert same(summaries(runs), known)
    assert path.read_bytes() != spoilt
    assert same(summaries(runs), known)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_an_index_that_is_no_file_or_cannot_be_written_changes_nothing(
    runs: Path, make: Callable[[Path], None]
) -> None:
    known = without_index(runs)
    make(runs / INDEX)
    assert same(summaries(runs), known)
    assert same(summaries(runs), known)
    assert not list(runs.glob(".*.tmp-*"))


def test_a_run_that_is_not_finished_is_looked_at_again(runs: Path) -> None:
    folder = the(runs, "run4")
    with RunLock(folder):
        assert summaries(runs)[4].status == "running"
        with folder.history.open("a") as file:
            file.write('{"step": 3, "valid.loss": 0.125}\n')
        found = summaries(runs)[4]
        assert (found.steps, found.metrics["valid.loss"]) == (40, 0.125)
    assert summaries(runs)[4].status == "killed"
    record.update(the(runs, "run5"), status="finished", metrics={"test.loss": 1.0})
    assert (summaries(runs)[5].status, summaries(runs)[5].metrics) == ("finished", {"test.loss": 1.0})


def test_a_record_that_is_damaged_later_is_unreadable(runs: Path) -> None:
    the(runs, "run0").record.write_text('{"format": 99}')
    assert [run.status for run in summaries(runs)][:2] == ["unreadable", "finished"]
    assert "newer than this Shoal reads" in str(summaries(runs)[0].reason)


def test_a_record_that_is_a_pipe_is_not_waited_for(runs: Path) -> None:
    path = the(runs, "run0").record
    path.unlink()
    os.mkfifo(path)
    assert [run.status for run in summaries(runs)][:2] == ["unreadable", "finished"]


def test_runs_that_are_gone_leave_no_rows(runs: Path) -> None:
    remove(the(runs, "run0"))
    set_aside(the(runs, "run1"))
    the(runs, "run2").path.parent.rename(runs / "renamed")
    names = [run.label.partition("-")[0] for run in summaries(runs)]
    assert names == ["renamed/seed", "run3", "run4", "run5"]
    make_run(runs, "another")
    summaries(runs)
    assert "run0" not in (runs / INDEX).read_text()


def test_folders_that_change_places_are_told_apart(runs: Path) -> None:
    one, other = (the(runs, name).path for name in ("run0", "run1"))
    names = [run.name for run in summaries(runs)][:2]
    one.rename(runs / "between")
    other.rename(one)
    (runs / "between").rename(other)
    assert [run.name for run in summaries(runs)][:2] == names[::-1]


def test_a_copy_of_a_runs_folder_has_its_own_rows(runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs, copy)
    record.update(the(copy, "run0"), steps=7)
    assert summaries(copy)[0].steps == 7
    assert summaries(runs)[0].steps == 40


def test_lists_and_indexes_agree_whatever_happens(runs: Path) -> None:
    draw = random.Random(0)
    for number in range(60):
        folder = draw.choice(summaries(runs)).folder
        match draw.randrange(6):
            case 0:
                record.update(folder, steps=draw.randrange(100), status=draw.choice(record.STATUSES))
            case 1:
                notes.change(folder, add=[f"tag{draw.randrange(5)}"], remove=[f"tag{draw.randrange(5)}"])
            case 2:
                with folder.history.open("a") as file:
                    file.write(json.dumps({"step": draw.randrange(100), "train.loss": draw.random()}) + "\n")
            case 3 if len(summaries(runs)) > 3:
                draw.choice([remove, set_aside])(folder)
            case 4:
                folder.path.parent.rename(runs / f"moved{number}-{'0' * 12}")
            case _:
                make_run(runs, f"new{number}", seed=draw.randrange(3), history=draw.randrange(3))
        found = summaries(runs)
        kept = (runs / INDEX).read_bytes()
        assert same(found, without_index(runs))
        (runs / INDEX).write_bytes(kept)


def _list_often(runs: Path, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(20):
        if draw.random() < 0.5:
            (runs / INDEX).unlink(missing_ok=True)
        assert len(summaries(runs)) == COUNT


def test_processes_that_write_it_at_once_leave_a_whole_one(runs: Path, opened: list[str]) -> None:
    fork = multiprocessing.get_context("fork")
    several = [fork.Process(target=_list_often, args=(runs, seed)) for seed in range(4)]
    for process in several:
        process.start()
    for process in several:
        process.join()
    assert [process.exitcode for process in several] == [0] * 4
    summaries(runs)
    assert not list(runs.glob(".*.tmp-*"))
    opened.clear()
    summaries(runs)
    assert not opened


def test_what_a_killed_process_left_is_removed(runs: Path) -> None:
    old, new = (runs / f".{INDEX}.tmp-{number}" for number in (1, 2))
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, 0))
    (runs / INDEX).unlink()
    summaries(runs)
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("ours", [INDEX, ".sweeps", ".lock"])
def test_a_folder_with_nothing_but_our_own_files_ignores_itself(tmp_path: Path, ours: str) -> None:
    (tmp_path / ours).mkdir() if ours == ".sweeps" else (tmp_path / ours).write_text("")
    create(tmp_path, RunId("digits", "0" * 32, 0))
    assert (tmp_path / ".gitignore").read_text() == "*\n"
    assert len(summaries(tmp_path)) == 1


def test_a_folder_with_files_of_others_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("results")
    create(tmp_path, RunId("digits", "0" * 32, 0))
    assert not (tmp_path / ".gitignore").exists()
