"""Event files: the history exactly, whatever became of the process that wrote them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.assembly.boards import as_float32, hyperparameters, read, scalars
from tests.synthetic import make_run

import shoal
from shoal.assembly import Screen, conduct
from shoal.assembly.event_file import EventFile, rewrite, tag
from shoal.pages.board_files import event_files
from shoal.recipe import parse
from shoal.recipe.compose import compose
from shoal.recipe.flat import hyperparameters as values_of
from shoal.store import Journal, RunFolder, read_journal

WORDS = ["digits_mlp", "budget.steps=40", "evaluate.every=10", "log.every=5", "model.dropout=0.2", "optimizer=adamw"]

KILLED = """
import os, signal, sys
from shoal.assembly import recorder
from shoal.cli import main
rows = recorder.RunRecorder.rows
def killed(self, given):
    rows(self, given)
    if given[0].step == 30:
        os.kill(os.getpid(), signal.SIGKILL)
recorder.RunRecorder.rows = killed
main(sys.argv[1:])
"""


def folder_of(runs: Path) -> RunFolder:
    (found,) = runs.glob("*/seed-0")
    return RunFolder(found)


def train(runs: Path, *words: str) -> RunFolder:
    return conduct(compose(WORDS[0], [*WORDS[1:], *words]), runs=runs, screen=Screen(quiet=True))


def history(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """The history as TensorBoard should have it, test row and all."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in read_journal(folder.history)[0]:
        for name, value in row.items():
            if name != "step":
                found.setdefault(tag(name), []).append((row["step"], as_float32(value)))
    return found


def copied(folder: Path) -> dict[str, list[tuple[int, float]]]:
    return {name: values for name, values in scalars(folder).items() if not name.startswith("final/")}


def test_scalars_are_the_history_exactly_and_nothing_of_the_run_changes(tmp_path: Path) -> None:
    without = train(tmp_path / "without")
    run = train(tmp_path / "with", "log.tensorboard=true")
    assert copied(run.tensorboard) == history(run)
    assert set(copied(run.tensorboard)) >= {"loss/train", "loss/valid", "loss/test", "accuracy/valid", "lr", "epoch"}
    times = [row["time"] for row in read_journal(run.timing)[0]]
    assert [event.wall_time for event in read(run.tensorboard).Scalars("lr")] == times[:-1]
    assert run.history.read_bytes() == without.history.read_bytes()
    weights = [
        {
            name: path.read_bytes()
            for path in (folder.checkpoints / "step-00000040").glob("*.pt")
            for name in [path.name]
        }
        for folder in (run, without)
    ]
    assert weights[0] == weights[1]
    assert not without.tensorboard.exists()


def test_averaged_weights_are_drawn_beside_the_others(tmp_path: Path) -> None:
    run = train(tmp_path, "average=ema", "log.tensorboard=true")
    found = scalars(run.tensorboard)
    assert set(found) >= {"loss/valid", "loss/valid_average", "loss/test_average", "accuracy/test_average"}
    assert set(found) >= {"final/test.loss", "final/test_average.loss"}
    assert copied(run.tensorboard) == history(run)


def test_a_killed_run_is_resumed_and_its_events_are_purged(tmp_path: Path) -> None:
    words = [*WORDS, "log.tensorboard=true", "checkpoint.every=20", "--runs", str(tmp_path / "runs")]
    killed = subprocess.run([sys.executable, "-c", KILLED, "train", *words], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = folder_of(tmp_path / "runs")
    assert max(step for step, _ in scalars(folder.tensorboard)["loss/train"]) == 30
    (torn,) = event_files(folder.tensorboard)
    torn.write_bytes(torn.read_bytes()[:-7] + b"torn")
    other = folder.tensorboard / "events.out.tfevents.1.mine"
    other.write_bytes(b"")

    resumed = train(tmp_path / "runs", "log.tensorboard=true", "checkpoint.every=20")
    alone = train(tmp_path / "alone")
    assert resumed.history.read_bytes() == alone.history.read_bytes()
    assert copied(folder.tensorboard) == history(alone)
    assert torn not in event_files(folder.tensorboard)
    assert len(event_files(folder.tensorboard)) == 1
    assert other.exists()


def test_a_run_without_the_key_imports_no_tensorboard(tmp_path: Path) -> None:
    code = "import sys; from shoal.cli import main; main(sys.argv[1:]); print('tensorboard' in sys.modules)"
    words = ["train", "digits_mlp", "budget.steps=2", "--runs", str(tmp_path)]
    off = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert off.stdout.splitlines()[-1] == "False"


def test_hyperparameters_are_those_that_may_change_the_result(tmp_path: Path) -> None:
    recipe = parse({"optimizer": {"name": "adamw", "lr": 0.25}, "seed": 3, "log": {"tensorboard": True}})
    folder = make_run(tmp_path, history=3)
    rewrite(tmp_path / "board", folder, values_of(recipe)).close()
    found = hyperparameters(tmp_path / "board")
    assert found["optimizer.lr"] == 0.25
    assert found["optimizer.name"] == "adamw"
    assert found["dataset.drop_last"] is True
    assert found["best.metric"] == "null"
    assert found["seed"] == 3
    assert not set(found) & {"device", "log.tensorboard", "checkpoint.keep", "name"}


def test_null_is_nan_and_a_missing_time_is_no_harm(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with Journal(folder.history) as journal:
        journal.append({"step": 1, "epoch": 0.5, "train.loss": float("inf"), "note": "text", "a.b": 2})
    rewrite(tmp_path / "board", folder, values_of(parse({}))).close()
    found = scalars(tmp_path / "board")
    assert str(found["loss/train"]) == "[(1, nan)]"
    assert found["a/b"] == [(1, 2.0)]
    assert "note" not in found


def test_where_the_new_file_cannot_be_written_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path, history=3)
    rewrite(tmp_path / "board", folder, values_of(parse({}))).close()
    before = event_files(tmp_path / "board")

    def full(self: EventFile) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(EventFile, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        rewrite(tmp_path / "board", folder, values_of(parse({})))
    assert event_files(tmp_path / "board") == before
    assert len(before) == 1


def test_what_was_not_flushed_is_refused_by_a_full_disk_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flush, flushed = EventFile.flush, []

    def full(self: EventFile) -> None:
        flushed.append(1)
        if len(flushed) == 3:
            raise OSError(28, os.strerror(28))
        flush(self)

    monkeypatch.setattr(EventFile, "flush", full)
    run = shoal.train("digits_mlp", {"budget.steps": 40, "evaluate.every": 10, "log.tensorboard": True}, runs=tmp_path)
    assert run.status == "finished"
    said = capsys.readouterr().out
    assert said.count("no more is written for TensorBoard: No space left on device") == 1
    assert "for TensorBoard: tensorboard" not in said
    assert len(flushed) == 3
    assert [row["step"] for row in run.history] == [10, 20, 30, 40, 40]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        EventFile(tmp_path / "board")


def test_a_file_in_the_place_of_the_folder_does_not_stop_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = shoal.train("digits_mlp", {"budget.steps": 2}, runs=tmp_path, quiet=True)
    settings = {"budget.steps": 2, "log.tensorboard": True}
    (first.folder / "run.json").write_text((first.folder / "run.json").read_text().replace("finished", "stopped", 1))
    (first.folder / "tensorboard").write_text("mine")
    again = shoal.train("digits_mlp", settings, runs=tmp_path)
    assert again.status == "finished"
    assert "no more is written for TensorBoard: File exists" in capsys.readouterr().out
    assert (first.folder / "tensorboard").read_text() == "mine"
