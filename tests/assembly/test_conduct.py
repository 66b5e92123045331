"""The life of a run: trained once, continued, set aside, explained, and recorded however it ends."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import shoal
from shoal.assembly import Screen, conduct, stepping
from shoal.checkpoints import newest
from shoal.errors import NonFiniteError, RecipeError, TrainingError
from shoal.recipe.compose import compose
from shoal.store import RunFolder, read_journal, record
from shoal.training import SoloEngine
from shoal.training.precision import check_precision
from shoal.training.recorded import RecordedStep
from shoal.training.trial import NotRecordableError

QUICK = ["budget.steps=30", "evaluate.every=10", "checkpoint.every=10"]


def train(runs: Path, *words: str, again: bool = False) -> tuple[RunFolder, str]:
    """Train the quick digits run; return its folder and what was said."""
    said = io.StringIO()
    quick = QUICK if not any(word.startswith("budget.") for word in words) else []
    folder = conduct(compose("digits_mlp", [*quick, *words]), runs=runs, screen=Screen(said), again=again)
    return folder, said.getvalue()


def test_a_run_leaves_every_file_that_the_design_names(tmp_path: Path) -> None:
    folder, said = train(tmp_path)
    for path in (folder.recipe, folder.record, folder.history, folder.timing, folder.log, folder.lock):
        assert path.is_file(), path
    facts = record.read(folder)
    assert facts["status"] == "finished"
    assert facts["steps"] == facts["total_steps"] == 30
    assert set(facts["metrics"]) >= {"test.accuracy", "test.loss", "valid.accuracy", "valid.loss", "train.loss"}
    assert facts["plan"]["engine"] == "solo"
    assert facts["data"]["sizes"] == {"train": 1257, "valid": 180, "test": 360}
    assert facts["data"]["normalisation"]["mean"]
    rows, bad = read_journal(folder.history)
    assert bad == 0
    assert [row["step"] for row in rows] == [10, 20, 30, 30]
    assert folder.log.read_text().splitlines() == said.splitlines() or "signature" in folder.log.read_text()


def test_a_run_records_what_was_said_and_where_its_time_went(tmp_path: Path) -> None:
    folder, _ = train(tmp_path, "optimizer.lr=0.05")
    facts = record.read(folder)
    assert {"key": "optimizer.lr", "value": 0.05, "default": 0.1} in facts["said"]
    assert set(facts["times"]) == {"startup", "training", "evaluation", "saving"}
    assert all(seconds >= 0 for seconds in facts["times"].values())
    assert (
        facts["times"]["training"] + facts["times"]["evaluation"] + facts["times"]["saving"] <= 2 * facts["seconds"] + 1
    )
    assert (folder.samples / "samples.json").is_file()


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    folder, _ = train(tmp_path)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    again, said = train(tmp_path)
    assert again == folder
    assert said == ""
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_the_same_meaning_under_another_name_is_the_same_run(tmp_path: Path) -> None:
    folder, _ = train(tmp_path)
    other, said = train(tmp_path, "name=another", "optimizer.lr=1e-1", "seed=0.0", "device=cpu", "log.every=7")
    assert (other, said) == (folder, "")


def test_another_seed_is_another_run_of_the_same_experiment(tmp_path: Path) -> None:
    first, _ = train(tmp_path)
    second, _ = train(tmp_path, "seed=1")
    assert first.path.parent == second.path.parent
    assert first.history.read_bytes() != second.history.read_bytes()


def test_again_sets_the_old_run_aside(tmp_path: Path) -> None:
    folder, _ = train(tmp_path)
    marked = folder.path / "mine.txt"
    marked.write_text("kept")
    new, said = train(tmp_path, again=True)
    assert new == folder
    assert "set aside" in said
    (aside,) = folder.path.parent.glob("seed-0.aside-*")
    assert (aside / "mine.txt").read_text() == "kept"
    assert (aside / "history.jsonl").read_bytes() == new.history.read_bytes()


def test_the_callers_randomness_and_settings_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    train(tmp_path)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == before


def test_best_weights_are_those_of_the_best_evaluation(tmp_path: Path) -> None:
    words = ["best.metric=valid.accuracy", "optimizer.lr=1.5", "schedules.lr=constant"]
    folder, _ = train(tmp_path, *words)
    facts = record.read(folder)
    rows, _ = read_journal(folder.history)
    evaluated = [row for row in rows if "valid.accuracy" in row]
    top = max(row["valid.accuracy"] for row in evaluated)
    assert facts["best"]["value"] == facts["metrics"]["valid.accuracy"] == top
    assert facts["best"]["step"] == next(row["step"] for row in evaluated if row["valid.accuracy"] == top)
    run = shoal.load(folder.path)
    assert run.test() == {k: v for k, v in facts["metrics"].items() if k.startswith("test.")}


def test_early_stop_ends_the_run_and_says_why(tmp_path: Path) -> None:
    folder, _ = train(
        tmp_path, "early_stop.patience=1", "early_stop.metric=valid.accuracy", "optimizer.lr=1e-12", "evaluate.every=5"
    )
    facts = record.read(folder)
    assert facts["status"] == "finished"
    assert facts["steps"] == 10
    assert "early stop: valid.accuracy did not improve" in facts["reason"]


def test_a_loss_that_is_not_finite_fails_the_run_before_the_update(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"the loss at step \d+ is not finite; its update was not made") as caught:
        train(tmp_path, "optimizer.lr=1e20")
    assert "optimizer.lr" in str(caught.value)
    (path,) = tmp_path.glob("*/seed-0")
    folder = RunFolder(path)
    facts = record.read(folder)
    assert facts["status"] == "failed"
    assert "not finite" in facts["reason"]
    loaded = newest(folder.checkpoints)
    assert loaded is not None
    assert all(value.isfinite().all() for value in loaded.states["engine"]["parameters"].values())


def test_a_failed_run_keeps_its_traceback_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = train(tmp_path / "whole")
    step, calls = SoloEngine.step, []

    def failing(self: Any, batch: Any, hyper: Any) -> None:
        calls.append(1)
        if len(calls) == 25:
            raise ValueError("broken on purpose")
        step(self, batch, hyper)

    monkeypatch.setattr(SoloEngine, "step", failing)
    with pytest.raises(ValueError, match="broken on purpose"):
        train(tmp_path / "broken")
    (path,) = (tmp_path / "broken").glob("*/seed-0")
    facts = record.read(RunFolder(path))
    assert (facts["status"], facts["reason"]) == ("failed", "ValueError: broken on purpose")
    assert "Traceback" in (path / "train.log").read_text()
    monkeypatch.undo()
    resumed, said = train(tmp_path / "broken")
    assert "resuming at step 20" in said
    assert resumed.history.read_bytes() == whole.history.read_bytes()
    assert record.read(resumed)["metrics"] == record.read(whole)["metrics"]
    assert record.read(resumed)["attempts"] == 2


def test_of_what_changed_one_sentence_is_said_and_none_of_data_that_were_named(tmp_path: Path) -> None:
    def said_of(name: str, shift: float) -> str:
        file = tmp_path / name
        np.savez(file, x=np.arange(60.0).reshape(20, 3) + shift, y=np.arange(20) % 2)
        words = ["dataset=arrays", f"dataset.path={file}", "batch_size=4", "budget.steps=2", "evaluate.every=2"]
        return train(tmp_path / "runs", *words)[1]

    assert "changed since" not in said_of("a.npz", 0.0)
    assert "changed since" not in said_of("b.npz", 1.0)  # another path: the person knows
    assert said_of("a.npz", 2.0).count("the data changed since") == 1
    assert said_of("a.npz", 3.0).count("the data changed since") == 1


def test_other_data_is_another_run_and_is_said_to_be(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)

    def run(data: Any) -> shoal.Run:
        return shoal.train(
            dataset=data, model="mlp", batch_size=8, budget={"steps": 4}, runs=tmp_path, quiet=True, seed=0
        )

    first, same, other = run((x, y)), run((x.copy(), y.copy())), run((x, 1 - y))
    assert first.folder == same.folder
    assert first.folder != other.folder
    assert "the data changed since" in (other.folder / "train.log").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch_size=2000"], r"batch_size = 2,000: the train split has 1,257 examples"),
        (["best.metric=valid.acuracy"], r"best.metric = 'valid.acuracy'.*did you mean 'valid.accuracy'"),
        (["early_stop.patience=2", "early_stop.metric=loss"], r"early_stop.metric = 'loss'.*There are: valid.loss"),
        (["schedules.lr.warmup_steps=31"], r"warmup_steps = 31 is longer than the training"),
        (["budget.epochs=0.001"], r"budget.epochs = 0.001: that is less than one step"),
        (["device=cuda:7"], r"device = 'cuda:7': this machine has"),
    ],
)
def test_bad_input_is_said_before_a_folder_is_made(tmp_path: Path, words: list[str], message: str) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(RecipeError, match=message):
        train(runs, *words)
    assert not runs.exists()


def test_the_record_is_valid_json_with_the_contracts_keys(tmp_path: Path) -> None:
    folder, _ = train(tmp_path)
    json.loads(folder.record.read_text())
    assert list(record.result(folder)) == ["run", "signature", "seed", "status", "folder", "steps", "metrics"]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds a step by execution, for a training of any length; what is remembered is this test's own."""
    taken = {"eager": 1e-3, "captured": 5e-4}
    monkeypatch.setenv("SHOAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stepping, "FEW_STEPS", 1)
    monkeypatch.setattr(stepping, "is_short", lambda *_: False)
    monkeypatch.setattr(stepping, "step_seconds", lambda *_: taken["eager"])
    monkeypatch.setattr(stepping, "recorded_seconds", lambda step: taken[step.execution])
    return taken


CHOSEN = "execution: captured, 0.5 ms a step against 1 ms eager; compiling does not pay in 0 s of work"


def test_the_choice_of_an_execution_is_said_recorded_and_remembered(
    tmp_path: Path, measured: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said = train(tmp_path)
    assert CHOSEN in said.splitlines()
    assert f"cpu, {torch.get_num_threads()} thread, captured" in said
    assert record.read(folder)["plan"]["execution"] == "captured"
    assert len(list((tmp_path / "cache" / "plans").iterdir())) == 1
    monkeypatch.setattr(stepping, "step_seconds", None)  # another seed is not measured, nor is the same run elsewhere
    for words in (["seed=1"], ["seed=0"]):
        again, said = train(tmp_path / "elsewhere", *words)
        assert CHOSEN in said.splitlines()
        assert record.read(again)["plan"] == record.read(folder)["plan"]
    assert again.history.read_bytes() == folder.history.read_bytes()


def test_a_training_too_short_to_measure_says_nothing_of_it(tmp_path: Path) -> None:
    folder, said = train(tmp_path)
    assert "execution:" not in said
    assert "execution: eager; 30 steps are too few to measure" in folder.log.read_text()
    assert record.read(folder)["plan"]["execution"] == "eager"


def test_a_training_with_too_little_work_is_remembered_and_says_nothing_of_it(
    tmp_path: Path, measured: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepping, "is_short", lambda eager, steps, _: eager * steps < 1.0)
    folder, said = train(tmp_path)
    assert "execution:" not in said
    assert "execution: eager; 0.0 s of work is too little to gain from" in folder.log.read_text()
    monkeypatch.setattr(stepping, "is_short", lambda *_: False)  # as for a seed that finds the machine a little slower
    again, _ = train(tmp_path, "seed=1")
    assert record.read(again)["plan"] == record.read(folder)["plan"]


def test_a_last_batch_for_which_nothing_can_be_recorded_ends_no_run_whose_execution_was_chosen(
    tmp_path: Path, measured: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded_for = RecordedStep._recorded_for

    def failing(self: Any, batch: Any, *rest: Any) -> Any:
        if len(batch.inputs) == 1257 % 32:
            raise NotRecordableError("it is broken on purpose")
        return recorded_for(self, batch, *rest)

    monkeypatch.setattr(RecordedStep, "_recorded_for", failing)
    words = ["dataset.drop_last=false", "batch_size=32", "budget.steps=60"]
    folder, said = train(tmp_path, *words)
    assert record.read(folder)["status"] == "finished"
    assert record.read(folder)["plan"]["execution"] == "captured"
    assert said.count("the step cannot be recorded for it: it is broken on purpose. Batches of this shape run") == 1
    with pytest.raises(TrainingError, match="Set execution=eager"):
        train(tmp_path / "asked", *words, "execution=captured")


def test_a_home_that_cannot_be_written_stops_nothing(tmp_path: Path, measured: dict[str, float]) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    _, said = train(tmp_path / "runs")
    assert CHOSEN in said.splitlines()


def fails_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = SoloEngine.step, []

    def failing(self: Any, batch: Any, hyper: Any) -> None:
        calls.append(1)
        if len(calls) == step:
            raise ValueError("broken on purpose")
        original(self, batch, hyper)

    monkeypatch.setattr(SoloEngine, "step", failing)


def test_resuming_repeats_the_execution_that_was_chosen(
    tmp_path: Path, measured: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = train(tmp_path / "whole", "model.dropout=0.2")
    with monkeypatch.context() as broken:
        fails_at(25, broken)
        with pytest.raises(ValueError, match="broken on purpose"):
            train(tmp_path / "broken", "model.dropout=0.2")
    measured["eager"] = 1e-5  # what would be measured now is another thing
    shutil.rmtree(tmp_path / "cache")
    folder, said = train(tmp_path / "broken", "model.dropout=0.2")
    assert "resuming at step 20" in said
    assert "the plan cannot be repeated" not in said
    assert "execution:" not in said
    assert record.read(folder)["plan"]["execution"] == "captured"
    assert folder.history.read_bytes() == whole.history.read_bytes()
    states = [newest(each.checkpoints) for each in (folder, whole)]
    found, wanted = (state.states["engine"]["parameters"] for state in states if state is not None)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("way", [("captured", "eager"), ("eager", "captured")], ids="-".join)
def test_another_execution_that_is_asked_for_is_taken_and_said(
    way: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = way
    with monkeypatch.context() as broken:
        fails_at(25, broken)
        with pytest.raises(ValueError, match="broken on purpose"):
            train(tmp_path, f"execution={first}")
    folder, said = train(tmp_path, f"execution={second}")
    assert "resuming at step 20" in said
    change = f"execution {first} -> {second}"
    assert f"the plan cannot be repeated ({change}): from here on the run is the same to rounding only." in said
    assert record.read(folder)["plan"]["execution"] == second
    assert record.read(folder)["status"] == "finished"
    whole, _ = train(tmp_path / "whole", "execution=eager")
    assert record.read(folder)["metrics"]["valid.loss"] == pytest.approx(
        record.read(whole)["metrics"]["valid.loss"], rel=1e-3
    )


@pytest.mark.parametrize("execution", ["eager", "captured"])
def test_a_run_that_is_not_finite_fails_at_its_step_under_every_execution(execution: str, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"^the loss at step 2 is not finite; its update was not made\."):
        train(tmp_path, "optimizer.lr=1e20", f"execution={execution}")
    (path,) = tmp_path.glob("*/seed-0")
    assert record.read(RunFolder(path))["plan"]["execution"] == execution


def test_a_recording_is_made_under_the_precision_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph has the kernels that were chosen when it was captured."""
    seen: list[str] = []
    recorded = stepping.Stepping.recorded

    def noting(self: Any, *arguments: Any) -> Any:
        seen.append(torch.get_float32_matmul_precision())
        return recorded(self, *arguments)

    monkeypatch.setattr(stepping.Stepping, "recorded", noting)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        train(tmp_path, "execution=captured")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]


@pytest.mark.parametrize("execution", ["eager", "captured"])
def test_the_best_of_averaged_weights_may_count_and_stop_a_run(execution: str, tmp_path: Path) -> None:
    words = ["average=ema", "average.decay=0.9", "best.metric=valid_average.accuracy", f"execution={execution}",
             "early_stop.metric=valid_average.loss", "early_stop.patience=2", "evaluate.every=5", "budget.steps=200",
             "schedules.lr.name=cosine"]  # fmt: skip
    folder, _ = train(tmp_path, *words)
    facts, (rows, _) = record.read(folder), read_journal(folder.history)
    measured = [row["valid_average.accuracy"] for row in rows if "valid_average.accuracy" in row]
    assert facts["best"]["value"] == max(measured)
    at = next(row for row in rows if row.get("valid_average.accuracy") == max(measured))
    assert facts["best"]["step"] == at["step"]
    (accuracy,) = [v for k, v in shoal.load(folder.path).test(split="valid").items() if k == "valid.accuracy"]
    assert accuracy == pytest.approx(max(measured))
    if facts["steps"] < 200:
        assert "early stop: valid_average.loss did not improve" in facts["reason"]


def test_the_precision_and_the_whole_batch_are_said(tmp_path: Path) -> None:
    try:
        check_precision("bf16", torch.device("cpu"))
    except RecipeError as error:
        pytest.skip(str(error))
    _, said = train(tmp_path, "batch_size=all", "precision=bf16")
    assert "of 1,257 examples, 1 an epoch; cpu, 1 thread, eager, bf16" in said
    assert "fp32" not in train(tmp_path)[1]


@pytest.mark.parametrize(("call", "step", "when"), [(2, 20, "at step 20"), (4, 30, "while it was tested")])
def test_a_signal_does_not_wait_for_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, step: int, when: str
) -> None:
    whole, _ = train(tmp_path / "whole")
    evaluate, calls = SoloEngine.evaluate, list[int]()

    def signalled(self: SoloEngine, batches: Any, **keywords: Any) -> Any:
        calls.append(self.steps)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, batches, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(SoloEngine, "evaluate", signalled)
        folder, said = train(tmp_path / "cut")
    facts = record.read(folder)
    assert (facts["status"], facts["steps"]) == ("stopped", step)
    assert facts["reason"] == f"stopped by SIGTERM {when}"
    assert "a checkpoint was saved, and the same command continues from it" in said
    assert len(read_journal(folder.history)[0]) == call - 1
    again, _ = train(tmp_path / "cut")
    assert record.read(again)["metrics"] == record.read(whole)["metrics"]
    assert again.history.read_bytes() == whole.history.read_bytes()
