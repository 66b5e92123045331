"""Records that were torn or spoilt: a run goes on from its checkpoint, and what cannot be read is counted and named."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.assembly import Screen, conduct
from shoal.assembly.recorder import RunRecorder
from shoal.cli import main
from shoal.errors import CheckpointError
from shoal.pages.report import report
from shoal.recipe.compose import compose
from shoal.store import RunFolder, read_journal, record
from shoal.store.verify import verify

WORDS = ["budget.steps=12", "evaluate.every=2", "checkpoint.every=4", "model.width=4", "execution=eager"]


def train(runs: Path) -> RunFolder:
    return conduct(compose("digits_mlp", WORDS), runs=runs, screen=Screen(io.StringIO()))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(tmp_path_factory.mktemp("alone"))


@pytest.fixture
def finished(alone: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of a finished run, to be spoilt."""
    runs = shutil.copytree(alone.path.parents[1], tmp_path / "runs")
    return RunFolder(runs / alone.path.relative_to(alone.path.parents[1]))


@pytest.fixture
def killed(tmp_path: Path) -> RunFolder:
    """A run whose process was killed after step 10, while it wrote a line; its last checkpoint is of step 8."""
    folder = train(tmp_path)
    for path in folder.checkpoints.glob("step-00000012"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    for journal in (folder.history, folder.timing):
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:5]) + lines[5][:-7])
    record.update(folder, status="running")
    return folder


def test_a_torn_line_is_set_aside_and_the_history_is_that_of_the_run_that_was_left_alone(
    killed: RunFolder, alone: RunFolder
) -> None:
    torn = killed.history.read_bytes().splitlines()[-1]
    assert read_journal(killed.history)[1] == 1
    assert train(killed.path.parents[1]) == killed
    assert killed.history.read_bytes() == alone.history.read_bytes()
    assert killed.history.with_name("history.jsonl.torn").read_bytes() == torn + b"\n"
    assert len(read_journal(killed.timing)[0]) == len(read_journal(killed.history)[0])
    assert verify(killed).sound


def test_checkpoints_that_are_gone_are_missed_and_the_history_is_kept(killed: RunFolder) -> None:
    shutil.rmtree(killed.checkpoints)
    before = killed.history.read_bytes()
    assert verify(killed).problems[-1].endswith("there is no checkpoint, although history.jsonl has rows")
    with pytest.raises(CheckpointError, match=r"no checkpoint, although .* Put the folder back, or add --again"):
        train(killed.path.parents[1])
    rows = before.splitlines()[:-1]
    assert killed.history.read_bytes().splitlines() == rows, "all but the torn one, which is beside it"


@pytest.mark.parametrize(
    "spoil", [lambda path: path.unlink(), lambda path: path.write_text("{}\n")], ids=["gone", "short"]
)
def test_times_that_were_spoilt_keep_no_run_from_going_on(
    spoil: Callable[[Path], object], killed: RunFolder, alone: RunFolder
) -> None:
    spoil(killed.timing)
    train(killed.path.parents[1])
    assert killed.history.read_bytes() == alone.history.read_bytes()
    assert "timing.jsonl was changed after the checkpoint of step 8 was saved" in killed.log.read_text()


def test_a_journal_that_is_removed_while_the_run_is_trained_is_written_again(
    tmp_path: Path, alone: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = RunRecorder.rows

    def removed(self: RunRecorder, *arguments: Any) -> None:
        rows(self, *arguments)
        if self.last["step"] == 6:
            self.folder.history.unlink()

    monkeypatch.setattr(RunRecorder, "rows", removed)
    folder = train(tmp_path)
    assert folder.history.read_bytes() == alone.history.read_bytes()
    assert "history.jsonl was removed or changed while the run was trained" in folder.log.read_text()


@pytest.mark.parametrize("file", ["run.json", "recipe.yaml", "history.jsonl", "timing.jsonl", "train.log", "lock"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_named_and_not_waited_for(
    make: Callable[[Path], None], file: str, killed: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = killed.path / file
    path.unlink(missing_ok=True)
    make(path)
    runs = str(killed.path.parents[1])
    for words in (["ls"], ["verify", "--all"], ["show", killed.label], ["train", "digits_mlp", *WORDS]):
        code = main([*words, "--runs", runs])
        told = capsys.readouterr()
        assert (code == 0) == (words == ["ls"])
        assert "Traceback" not in told.err
        if words != ["ls"]:
            assert f"{file}' is a folder, a pipe or a device" in told.out + told.err


def test_rows_after_the_checkpoint_are_cut_and_written_again_once(killed: RunFolder, alone: RunFolder) -> None:
    with killed.history.open("ab") as file:
        file.write(b'\n{"step": 10, "of": "a process that was killed"}\nnot a row at all\n')
    train(killed.path.parents[1])
    assert killed.history.read_bytes() == alone.history.read_bytes()


def test_a_spoilt_row_before_the_checkpoint_stays_counted_and_named(
    killed: RunFolder, alone: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = alone.history.read_bytes().splitlines(keepends=True)
    content = killed.history.read_bytes()
    killed.history.write_bytes(b"\xff" * (len(whole[0]) - 1) + content[len(whole[0]) - 1 :])
    train(killed.path.parents[1])
    assert killed.history.read_bytes().splitlines(keepends=True)[1:] == whole[1:]
    assert verify(killed).problems == (f"{killed.history}: 1 line (1) cannot be read",)
    assert "1 line (1) of history.jsonl could not be read" in report(killed)
    assert main(["show", str(killed.path)]) == 0
    assert "1 line (1) of history.jsonl could not be read" in capsys.readouterr().out


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


HISTORIES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], list[int]]] = {
    "gone": (lambda lines: [], [0, 1, 2, 3]),
    "shorter": (lambda lines: lines[:2], [2, 3]),
    "a line taken out": (lambda lines: lines[:1] + lines[2:], [1]),
    "a line that is none any more": (lambda lines: [lines[0][:30] + b"\n", *lines[1:]], [0]),
    "a blank line": (lambda lines: [b"\n", *lines], []),
}


@pytest.mark.parametrize("how", HISTORIES)
def test_a_history_that_was_changed_keeps_no_run_from_going_on(
    how: str, killed: RunFolder, alone: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, gone = HISTORIES[how]
    found = b"".join(spoil(lines_of(killed.history)))
    killed.history.write_bytes(found)
    kept = f"{4 - len(gone)} of the 4 rows up to there can be read"
    assert kept in " ".join(verify(killed).problems)
    train(killed.path.parents[1])
    whole = lines_of(alone.history)
    assert lines_of(killed.history) == [line for number, line in enumerate(whole) if number not in gone]
    assert record.read(killed)["metrics"] == record.read(alone)["metrics"]
    said = f"history.jsonl was changed after the checkpoint of step 8 was saved: {kept}"
    assert said in killed.log.read_text()
    assert said in report(killed)
    assert main(["show", str(killed.path)]) == 0
    assert said in capsys.readouterr().out
    (told,) = record.read(killed)["journals"]
    assert (told["file"], told["step"], told["missing"]) == ("history.jsonl", 8, len(gone))
    assert verify(killed).problems == ((told["said"],) if gone else ())
    if how in ("a line that is none any more", "a blank line"):
        beside = killed.history.with_name("history.jsonl.aside-1").read_bytes()
        assert found.startswith(beside), "what was torn at its end is in history.jsonl.torn"


def test_where_the_last_row_is_lost_the_result_is_that_of_the_last_weights(finished: RunFolder) -> None:
    expected = record.read(finished)["metrics"]
    finished.history.write_bytes(b"".join(lines_of(finished.history)[:-2]))
    record.update(finished, status="stopped", metrics=None)
    train(finished.path.parents[1])
    got = record.read(finished)["metrics"]
    assert got == {name: value for name, value in expected.items() if not name.startswith("train")}
    assert [row["step"] for row in read_journal(finished.history)[0]] == [2, 4, 6, 8, 10, 12, 12]


RECORDS: dict[str, Callable[[Path], object]] = {
    "removed": lambda path: path.unlink(),
    "emptied": lambda path: path.write_text(""),
    "edited": lambda path: path.write_text(path.read_text().replace('"running"', '"dancing"').replace("seed", "soil")),
}


@pytest.mark.parametrize("last", [False, True], ids=["midway", "at the end"])
@pytest.mark.parametrize("how", RECORDS)
def test_a_record_that_is_spoilt_while_the_run_is_trained_is_written_whole_again(
    how: str, last: bool, tmp_path: Path, alone: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = RunRecorder.rows

    def spoilt(self: RunRecorder, *arguments: Any) -> None:
        rows(self, *arguments)
        if ("test.loss" in self.last) if last else (self.last["step"] == 6):
            RECORDS[how](self.folder.record)

    monkeypatch.setattr(RunRecorder, "rows", spoilt)
    folder = train(tmp_path)
    whole, expected = record.read(folder), record.read(alone)
    for key in ("name", "signature", "seed", "status", "identity", "recipe", "plan", "metrics", "attempts"):
        assert whole[key] == expected[key], key
    assert verify(folder).sound
    assert last or "run.json was removed or changed while the run was trained" in folder.log.read_text()


@pytest.mark.parametrize("how", RECORDS)
def test_why_a_run_failed_is_recorded_where_its_record_was_spoilt(
    how: str, tmp_path: Path, alone: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: RunRecorder, *arguments: Any) -> None:
        RECORDS[how](self.folder.record)
        raise RuntimeError("broken by hand")

    monkeypatch.setattr(RunRecorder, "rows", failing)
    with pytest.raises(RuntimeError):
        train(tmp_path)
    known = record.read(RunFolder(next(tmp_path.glob("*/seed-0"))))
    assert (known["status"], known["reason"]) == ("failed", "RuntimeError: broken by hand")
    assert known["signature"] == record.read(alone)["signature"]


def edit(**changes: object) -> Callable[[RunFolder], None]:
    def change(folder: RunFolder) -> None:
        known = record.read(folder) | changes
        folder.record.write_text(json.dumps({key: value for key, value in known.items() if value is not ...}))

    return change


def rewrite(old: str, new: str) -> Callable[[RunFolder], object]:
    return lambda folder: folder.recipe.write_text(folder.recipe.read_text().replace(old, new))


WRONG: dict[str, tuple[Callable[[RunFolder], object], str]] = {
    "no record": (lambda folder: folder.record.unlink(), r"run\.json: it is missing, and with it status, signature"),
    "a status that is a number": (edit(status=7), r"run\.json: status = 7: expected one of: queued, running, finished"),
    "a status that is none": (edit(status="dancing"), r'status = "dancing": expected one of'),
    "no status": (edit(status=...), r"status = null: expected one of"),
    "no signature": (edit(signature=...), r"signature = null: expected 32 hexadecimal digits"),
    "a signature of something else": (edit(signature="0" * 32), "it is not that of what the record has under identity"),
    "no seed": (edit(seed=...), "seed = null: expected a whole number"),
    "a seed that is none": (edit(seed=True), "seed = true: expected a whole number"),
    "another seed": (edit(seed=3), "seed = 3: it lies in the folder seed-0"),
    "no recipe": (lambda folder: folder.recipe.unlink(), r"recipe\.yaml: it is missing"),
    "a garbled recipe": (rewrite("seed: 0", "seed: [0"), r"recipe\.yaml, line \d+, column \d+: this is no plain YAML"),
    "a recipe that is a list": (lambda folder: folder.recipe.write_text("[1]"), "it is no mapping of keys, but"),
    "an edited recipe": (
        rewrite("width: 4", "width: 8"),
        r"recipe\.yaml: changed since the run was made: model\.width = 8 \(4 when it was trained\)",
    ),
    "a key that is left out": (rewrite("seed: 0\n", ""), r"seed is left out \(0 when it was trained\)"),
    "a key that was not there": (rewrite("seed: 0\n", "seed: 0\nsoil: 1\n"), r"soil = 1 \(not there when it was"),
}


@pytest.mark.parametrize("what", WRONG)
def test_verify_says_what_is_wrong_with_a_record_and_a_recipe(what: str, finished: RunFolder) -> None:
    assert verify(finished).sound
    spoil, expected = WRONG[what]
    spoil(finished)
    (problem,) = verify(finished).problems
    assert re.search(expected, problem)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "damaged: it is not the JSON that was written there."),
        ("[1]", "damaged: it does not say its format."),
        ('{"format": 1}', "its content does not have the checksum it was saved with."),
        ("[" * 100_000, "damaged: it is not the JSON that was written there."),
        (" " * (2 << 20), "damaged: it has more than 1,048,576 bytes."),
        (None, "cannot be read: No such file or directory."),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said_in_words(
    content: str | None, expected: str, finished: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = finished.checkpoints / "step-00000012" / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    assert main(["verify", str(finished.path)]) == 1
    told = capsys.readouterr().out
    assert f"{manifest}: {expected}" in told
    assert "1 of 1 run damaged" in told


def test_an_edited_recipe_is_put_back_and_kept_beside(
    killed: RunFolder, alone: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = killed.recipe.read_text()
    rewrite("width: 4", "width: 8")(killed)
    edited = killed.recipe.read_text()
    train(killed.path.parents[1])
    assert "recipe.yaml was changed since this run was made: model.width = 8 (4 when it" in killed.log.read_text()
    assert "yours is kept as recipe.yaml.aside-1" in killed.log.read_text()
    assert killed.recipe.read_text() == whole
    assert killed.recipe.with_name("recipe.yaml.aside-1").read_text() == edited
    assert killed.history.read_bytes() == alone.history.read_bytes()

    for number in (2, 2, 3):  # of a finished run too; the same edit is kept once
        killed.recipe.write_text(f"{edited}# {number}\n")
        screen = io.StringIO()
        conduct(compose("digits_mlp", WORDS), runs=killed.path.parents[1], screen=Screen(screen))
        assert f"yours is kept as recipe.yaml.aside-{number}" in screen.getvalue()
        assert killed.recipe.read_text() == whole
    assert main(["rm", "--yes", str(killed.path), "--runs", str(killed.path.parents[1])]) == 0


def test_a_recipe_with_other_settings_of_what_changes_no_result_is_no_other_recipe(killed: RunFolder) -> None:
    folder = conduct(
        compose("digits_mlp", [*WORDS, "checkpoint.keep=3"]),
        runs=killed.path.parents[1],
        screen=Screen(io.StringIO()),
    )
    assert "keep: 3" in folder.recipe.read_text()
    assert "was changed since" not in folder.log.read_text()
    assert verify(folder).sound


@pytest.mark.parametrize(
    "words",
    [["test"], ["predict", "x.npy"], ["export", "--weights", "w.safetensors"], ["export", "--onnx", "m.onnx"]],
    ids=lambda words: words[0],
)
def test_what_reads_a_recipe_says_that_it_is_not_that_of_the_run(
    words: list[str], finished: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.path.parents[1])
    np.save("x.npy", np.zeros((1, 1, 8, 8), "f4"))
    command, *rest = words
    rewrite("width: 4", "width: 8")(finished)
    assert main([command, finished.label, *rest, "--runs", "."]) == 2
    told = capsys.readouterr().err
    assert "recipe.yaml was changed since the run was made: model.width = 8 (4 when it was trained)" in told
    assert "puts it back and keeps yours beside it" in told

    rewrite("width: 8", "width: 4 # as it was")(finished)
    rewrite("keep: 2", "keep: 3")(finished)
    assert main([command, finished.label, *rest, "--runs", "."]) == 0, "comments, and what changes no result"

    finished.recipe.unlink()
    assert main([command, finished.label, *rest, "--runs", ".", *(["--force"] if command == "export" else [])]) == 2
    assert "it was removed. The shoal train that made the run writes it again" in capsys.readouterr().err
