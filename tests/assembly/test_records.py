"""Records that were torn or spoilt: a run goes on from its checkpoint, and what cannot be read is counted and named."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from shoal.assembly import Screen, conduct
from shoal.cli import main
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
