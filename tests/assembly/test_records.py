"""Records that were torn or spoilt: a run goes on from its checkpoint, and what cannot be read is counted and named."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    assert "timing.jsonl is not what it was" in killed.log.read_text()


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
    assert "history.jsonl was removed or replaced while the run was trained" in folder.log.read_text()


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
