"""Runs whose code or data were changed: what is said of them, and what a person may declare to be the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contracts.interrupted import Cut, cutting
from tests.own_project import NAME, Project
from tests.synthetic import holder
from torch import Tensor, nn

import shoal
from shoal.cli import main
from shoal.errors import InputError
from shoal.recipe import flat
from shoal.store import RunFolder, RunLock, record, summaries, sweeps

WORDS = ("digits_mlp", "model=tiny", "budget.steps=6", "evaluate.every=3", "execution=eager", "--module", NAME)
Shoal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    yield project
    project.forget()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shoal:
    def command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *capsys.readouterr())

    return command


def runs() -> list[RunFolder]:
    return [summary.folder for summary in summaries(Path("runs"))]


def content(folder: RunFolder) -> dict[str, bytes]:
    """What is kept whatever the run is called."""
    paths = [*folder.checkpoints.rglob("*"), folder.history, folder.timing, folder.log]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths if path.is_file()}


def test_an_edit_that_changes_nothing_is_accepted_once_for_all_runs(project: Project, run: Shoal) -> None:
    for seed in "01":
        assert run("train", *WORDS, f"seed={seed}")[0] == 0
    old = runs()
    before, signature = [content(folder) for folder in old], record.read(old[0])["signature"]
    project.edit("super().__init__()", "super().__init__()  # as nn.Module wants it")
    code, out, _ = run("migrate", "--module", NAME)
    assert code == 0
    assert out.count("the source of the model is not what it was") == 2
    assert "2 runs: 2 changed, 0 as they were. Nothing was changed. Where the change makes no difference" in out
    assert [record.read(folder)["signature"] for folder in runs()] == [signature] * 2
    assert run("migrate", "--module", NAME, "--accept", "model")[0] == 0
    new = runs()
    assert [content(folder) for folder in new] == before
    assert not {folder.label for folder in new} & {folder.label for folder in old}
    assert [path.name for path in Path("runs").glob("[!.]*")] == [new[0].path.parent.name]
    (formerly,) = record.read(new[0])["formerly"]
    assert (formerly["signature"], formerly["accepted"], formerly["run"]) == (signature, ["model"], old[0].label)
    code, out, _ = run("train", *WORDS, "seed=1")
    assert (code, "training" in out) == (0, False), "it is the run that the command means, and finished"
    assert "2 runs: 0 changed, 2 as they were." in run("migrate", "--module", NAME)[1]


def test_a_new_key_is_accepted_by_name_and_pinned(project: Project, run: Shoal) -> None:
    run("train", *WORDS)
    project.edit("hidden: int = 4", "hidden: int = 4, heads: int = 1")
    code, out, _ = run("migrate", "--module", NAME, "--accept", "model.heads")
    assert code == 0
    assert "model.heads is new, and 1" in out
    assert "0 migrated, 1 changed" in out
    code, out, _ = run("migrate", "--module", NAME, "--accept", "model.heads", "--accept", "model", "--json")
    told = json.loads(out)
    assert {row["what"]: (row["before"], row["now"]) for row in told["differences"]}["model.heads"] == (None, 1)
    assert (told["migrated"], told["run"], told["problem"]) == (True, told["becomes"], None)
    (folder,) = runs()
    assert (folder.label, told["status"]) == (told["run"], "finished")
    assert flat.read(folder.recipe)["model.heads"] == 1
    project.edit("heads: int = 1", "heads: int = 2")
    assert "model.heads" not in run("migrate", "--module", NAME)[1], (
        "the value that it was trained with is written down"
    )


def test_data_that_were_written_anew_are_accepted_as_such(tmp_path: Path, project: Project, run: Shoal) -> None:
    x, y = np.arange(60.0, dtype="f4").reshape(20, 3), np.arange(20) % 2
    np.savez("data.npz", x=x, y=y)
    words = ["dataset=arrays", "dataset.path=data.npz", "batch_size=4", "budget.steps=2", "evaluate.every=2"]
    assert run("train", "digits_mlp", *words)[0] == 0
    np.savez("data.npz", x=x + 1e-6, y=y)
    _, out, _ = run("migrate", "digits_mlp")
    assert "the data are not what they were" in out
    assert run("migrate", "--accept", "model")[0] == 2
    assert run("migrate", "digits_mlp", "--accept", "dataset")[0] == 0
    assert run("test", "digits_mlp", "split=valid")[0] == 0
    assert "already" not in run("train", "digits_mlp", *words)[1]
    assert len(runs()) == 1


def test_what_would_lose_a_run_or_make_two_one_is_refused_with_nothing_changed(project: Project, run: Shoal) -> None:
    run("train", *WORDS)
    (old,) = runs()
    project.edit("nn.ReLU()", "nn.ReLU(inplace=False)")
    run("train", *WORDS)
    new = next(folder for folder in runs() if folder.path != old.path)
    code, _, err = run("migrate", "--module", NAME, "--accept", "model")
    assert code == 2
    assert f"{old.label} would become {new.label}, which is there already (finished): nothing was changed" in err
    project.edit("nn.ReLU(inplace=False)", "nn.ReLU(inplace=bool(0))")
    code, _, err = run("migrate", "--module", NAME, "--accept", "all")
    assert code == 2
    assert "would become the same run, digits_mlp-" in err
    assert {folder.path for folder in runs()} == {old.path, new.path}
    with holder(old) as process:
        assert f"process {process.pid}" in run("migrate", old.label, "--module", NAME, "--accept", "model")[2]
    with RunLock(old):
        assert run("migrate", old.label, "--module", NAME, "--accept", "model")[0] == 2
    assert run("migrate", old.label, "--module", NAME, "--accept", "model")[0] == 0


def test_another_model_is_no_harmless_edit(project: Project, run: Shoal) -> None:
    run("train", *WORDS)
    project.edit("self.layers", "self.net")
    code, _, err = run("migrate", "--module", NAME, "--accept", "model")
    assert code == 2
    assert (
        "its weights do not fit the model as it is now: layers.1.bias was of shape [4] when it was trained, and" in err
    )
    assert "is not there now. That is another model: nothing was changed." in err


def test_code_that_fails_now_and_a_record_that_is_damaged_hide_no_other_run(project: Project, run: Shoal) -> None:
    run("train", *WORDS)
    run("train", "digits_mlp", "budget.steps=6", "execution=eager")
    run("train", "digits_mlp", "budget.steps=5", "execution=eager")
    damaged = next(folder for folder in runs() if record.read(folder)["total_steps"] == 5)
    damaged.record.write_text("{")
    project.edit("super().__init__()", "super().__init__()\n        raise ValueError('not yet')")
    code, out, _ = run("migrate", "--module", NAME)
    assert (code, "3 runs: 0 changed, 1 as they were, 2 that cannot be compared." in out) == (0, True)
    assert "it cannot be built as it is now: ValueError: not yet" in out
    assert "run.json' is damaged" in out


def test_a_misspelt_word_a_missing_module_and_a_folder_elsewhere(tmp_path: Path, project: Project, run: Shoal) -> None:
    run("train", *WORDS)
    (folder,) = runs()
    project.edit("nn.ReLU()", "nn.ReLU(False)")
    code, _, err = run("migrate", "--module", NAME, "--accept", "modle")
    assert (code, "--accept modle: nothing of that name has changed: did you mean model?" in err) == (2, True)
    assert run("migrate", str(folder.path), "--runs", "others")[0] == 2
    project.forget()
    code, out, _ = run("migrate")
    assert (code, "1 that cannot be compared" in out, "--module NAME" in out) == (0, True, True)
    assert run("migrate", folder.label)[0] == 2
    assert run("migrate", "--runs", "nothing-here") == (0, "0 runs: 0 changed, 0 as they were.\n", "")


def test_a_run_that_was_stopped_goes_on_under_its_new_identity(project: Project, run: Shoal) -> None:
    assert run("train", *WORDS, "--runs", "alone")[0] == 0
    with cutting(Cut("stopped", 4)):
        assert run("train", *WORDS)[0] == 75
    project.edit("nn.ReLU()", "nn.ReLU(False)")
    assert run("migrate", "--module", NAME, "--accept", "model")[0] == 0
    code, out, _ = run("train", *WORDS)
    assert (code, "resuming at step 4" in out) == (0, True)
    (folder,) = runs()
    (alone,) = Path("alone").glob("*/seed-0")
    assert folder.history.read_bytes() == (alone / "history.jsonl").read_bytes()
    assert len(record.read(folder)["formerly"]) == 1


def test_a_sweep_knows_its_runs_by_what_they_are_now(project: Project, run: Shoal) -> None:
    run("train", *WORDS)
    (folder,) = runs()
    signature = record.read(folder)["signature"]
    points = (sweeps.Point(folder.label, signature, 0), sweeps.Point("other", "0" * 32, 0))
    sweeps.write(Path("runs"), sweeps.Sweep("mine", points=points))
    sweeps.path_of(Path("runs"), "damaged").write_text("{")
    project.edit("nn.ReLU()", "nn.ReLU(False)")
    run("migrate", "--module", NAME, "--accept", "model")
    (moved,) = runs()
    now = sweeps.Point(moved.label, record.read(moved)["signature"], 0)
    assert sweeps.read(Path("runs"), "mine").points == (now, points[1])
    sweeps.write(Path("runs"), sweeps.Sweep("mine", points=points))  # as a kill before this would leave it
    run("migrate", "--module", NAME, "--accept", "model")
    assert sweeps.read(Path("runs"), "mine").points == (now, points[1])


class Net(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Renamed(Net):
    """The same network, as its author calls it now."""


def test_what_came_from_python_is_passed_again_and_accepted_there(tmp_path: Path, run: Shoal) -> None:
    data = np.random.default_rng(0).normal(size=(40, 4)).astype("f4"), np.arange(40) % 2
    keys: dict[str, Any] = {"budget.steps": 4, "batch_size": 8}
    made = shoal.train(keys, model=Net, dataset=data, runs=tmp_path, quiet=True)
    assert made.migrate() == made
    before, history = made.signature, made.history
    _, out, _ = run("migrate", "--runs", str(tmp_path))
    assert "was trained with a model and dataset from Python, which its folder does not hold. Pass it again" in out
    with pytest.raises(InputError, match=r"the source of the model is not what it was.*run\.migrate\('model'\)"):
        shoal.load(made.folder, model=Renamed, dataset=data).migrate()
    moved = shoal.load(made.folder, model=Renamed, dataset=data).migrate("model")
    assert moved.record["formerly"][0]["signature"] == before != moved.signature
    assert (moved.history, moved.folder.exists(), made.folder.exists()) == (history, True, False)
