"""A run with a longer budget that begins where a shorter one stands: the same bits as from the start, or a refusal."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.contracts.interrupted import Case, Cut, attempt
from tests.faults.chaos import result
from tests.faults.crash import crash
from tests.synthetic import holder, make_run
from torch import Tensor, nn
from torch.utils.data import IterableDataset

import shoal
from shoal.checkpoints import newest
from shoal.errors import InputError, LiveRunError, StoreError
from shoal.store import RunFolder, read_journal
from shoal.store.checkpoint_files import candidates, step_of

LONG = 27
"""Steps of the longer training; an epoch is 6, and the shorter one has 15 unless a case says otherwise."""
X = np.random.default_rng(0).normal(size=(96, 4)).astype("f4")
Y = (X[:, 0] > 0).astype(int)


class Points(IterableDataset):
    digest = "ninety-six points"
    classes = 2

    def __iter__(self) -> Iterator[Any]:
        yield from zip(X, Y, strict=True)


class Lengthy(Points):
    def __len__(self) -> int:
        return len(X)


def case(objects: dict[str, Any] | None = None, /, **keys: Any) -> Case:
    full = {"checkpoint.every": 3, "checkpoint.keep": 20, **{key.replace("__", "."): keys[key] for key in keys}}
    return Case(full, objects or {})


STREAM = {"model": "mlp", "batch_size": 16, "budget__steps": 12}
CASES: dict[str, tuple[Case, int]] = {
    # name: the training, and the step from which the longer one goes on
    "final evaluation off the grid": (case(), 12),
    "final evaluation on the grid": (case(budget__steps=12), 12),
    "best, early stop": (
        case(budget__steps=12, best__metric="valid.loss", early_stop__patience=3, early_stop__metric="valid.loss"),
        12,
    ),
    "plateau": (case(schedules__lr={"name": "plateau", "patience": 0, "threshold": 0.9}, evaluate__every=3), 15),
    "ema, augmented": (case(average="ema", regularise={"mixup": 0.2, "translate": 1}, budget__steps=12), 12),
    "lookahead under a warm-up": (
        case(average={"name": "lookahead", "every": 4}, schedules__lr={"name": "constant", "warmup_steps": 5}),
        12,
    ),
    "wsd before its decay": (case(schedules__lr={"name": "wsd", "decay": 0.5}), 6),
    "swa before its start": (case(average={"name": "swa", "start": 0.5, "every": 2}), 6),
    "epochs": (case(budget__steps=None, budget__epochs=2), 12),
    "recorded": (case(budget__steps=12, execution="captured"), 12),
    "stream with a length": (case({"dataset": Lengthy()}, **STREAM), 12),
}


def keys_of(longer: int, name: str) -> dict[str, Any]:
    return {"budget.epochs": longer / 6} if name == "epochs" else {"budget.steps": longer}


@pytest.mark.parametrize("name", CASES)
def test_a_longer_run_ends_as_it_would_have_from_the_start(name: str, tmp_path: Path) -> None:
    training, step = CASES[name]
    short, longer = attempt(tmp_path / "short", training), keys_of(LONG, name)
    assert short is not None
    before = content(short.folder)
    extended = short.extend(longer, runs=tmp_path / "extended", quiet=True)
    alone = attempt(tmp_path / "alone", Case({**training.keys, "budget.steps": None, **longer}, training.objects))
    assert alone is not None
    found, expected = result(tmp_path / "extended"), result(tmp_path / "alone")
    assert found.keys() == expected.keys()
    assert [file for file in expected if found[file] != expected[file]] == [], "these files differ"
    assert extended.label == alone.label
    assert extended.record["extended_from"] == {"run": short.label, "signature": short.signature, "step": step}
    assert {key: extended.record[key] for key in ("identity", "plan", "said")} == {
        key: alone.record[key] for key in ("identity", "plan", "said")
    }
    assert [row["step"] for row in read_journal(extended.location.timing)[0]] == [r["step"] for r in extended.history]
    assert content(short.folder) == before, "the run that is extended stays as it is"
    assert {path.name for path in (tmp_path / "extended").iterdir()} == {
        path.name for path in (tmp_path / "alone").iterdir()
    }


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("cut", [Cut("stopped", 9), Cut("killed", 10), Cut("stopped", 12)], ids=str)
def test_a_run_that_was_not_finished_is_extended_too(cut: Cut, tmp_path: Path) -> None:
    training = case()
    attempt(tmp_path / "short", training, cut)
    (path,) = (tmp_path / "short").glob("*/seed-0")
    shoal.load(path).extend({"budget.steps": LONG}, runs=tmp_path / "extended", quiet=True)
    attempt(tmp_path / "alone", training, **{"budget.steps": LONG})
    assert result(tmp_path / "extended") == result(tmp_path / "alone")


def test_a_run_that_was_stopped_in_its_last_evaluation_gives_the_longer_one_all_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That evaluation, of step 15, is none of the longer run's, and it was not made yet."""
    from shoal.training import SoloEngine

    evaluate = SoloEngine.evaluate

    def stopped(engine: SoloEngine, *arguments: Any, **keywords: Any) -> Any:
        if engine.steps == 15:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(engine, *arguments, **keywords)

    monkeypatch.setattr(SoloEngine, "evaluate", stopped)
    short = attempt(tmp_path / "short", case())
    assert short is not None
    assert short.status == "stopped"
    monkeypatch.undo()
    extended = short.extend({"budget.steps": LONG}, runs=tmp_path / "extended", quiet=True)
    assert extended.record["extended_from"]["step"] == 15
    attempt(tmp_path / "alone", case(), **{"budget.steps": LONG})
    assert result(tmp_path / "extended") == result(tmp_path / "alone")


class Brittle(nn.Module):
    """A linear layer whose loss is not finite once a weight is far out: sooner under a larger learning rate."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        far = self.layer.weight.abs().max() > 0.9
        return torch.where(far & self.training, torch.nan, self.layer(x))


def test_rewinds_of_the_shorter_run_are_those_of_the_longer_one(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "batch_size": 8, "guard.action": "rewind", "guard.limit": 20, "guard.rewind_every": 4, "execution": "eager",
        "dataset.valid": 0.2, "checkpoint.every": 2, "evaluate.every": 4, "optimizer.lr": 0.2,
    }  # fmt: skip

    def train(runs: str, steps: int) -> shoal.Run:
        objects: dict[str, Any] = {"model": Brittle, "dataset": (X, Y)}
        return shoal.train(None, {**keys, "budget.steps": steps}, runs=tmp_path / runs, quiet=True, **objects)

    short, alone = train("short", 24), train("alone", 60)
    extended = short.extend({"budget.steps": 60}, runs=tmp_path / "extended", quiet=True)
    assert 0 < len(short.record["guard"]) < len(alone.record["guard"])
    assert result(tmp_path / "extended") == result(tmp_path / "alone")
    assert extended.record["extended_from"]["step"] == 24


def train(runs: Path, **keys: Any) -> shoal.Run:
    base = {"model.width": 12, "budget.epochs": 1, "batch_size": 200, "execution": "eager"}
    return shoal.train(
        "digits_mlp", {**base, **{key.replace("__", "."): keys[key] for key in keys}}, runs=runs, quiet=True
    )


CONSTANT: dict[str, Any] = {"schedules__lr": "constant"}
SWA = {"name": "swa", "start": 0.0, "every": 0.5}


@pytest.mark.parametrize(
    ("keys", "budget", "words"),
    [
        (
            {},
            {"budget.epochs": 2},
            ["schedules.lr = cosine depends on the budget: at step 2 lr is 0.0", "under 1 epoch"],
        ),
        ({"schedules__lr": "one_cycle"}, {"budget.epochs": 2}, ["schedules.lr = one_cycle", "at step 2 "]),
        ({**CONSTANT, "schedules__momentum": "linear"}, {"budget.steps": 9}, ["schedules.momentum = linear"]),
        (
            {**CONSTANT, "average": SWA},
            {"budget.steps": 12},
            ["average = swa depends on the budget: at step 1 the share that the average takes in is 0"],
        ),
        (
            {**CONSTANT, "evaluate__every": 0.5},
            {"budget.steps": 12},
            ["an evaluation is due after step 1 under 12 steps"],
        ),
        (CONSTANT, {"budget.epochs": 1.0}, ["1 epoch: that is the budget of"]),
        (CONSTANT, {"budget.steps": 6}, ["has made 6 steps, and a budget of 6 steps is no more than that"]),
        ({}, {}, ["how long? Give the new budget, as in budget.epochs=20"]),
        ({}, {"epochs": 2}, ["epochs: did you mean budget.epochs? Only the budget can be extended"]),
        ({}, {"optimizer.lr": 2}, ["optimizer.lr: Only the budget can be extended. With another optimizer.lr it is"]),
        ({}, {"budget.epoch": 2}, ["unknown key budget.epoch", "budget.epochs"]),
        ({}, {"budget.epochs": 2, "budget.steps": 12}, ["not both"]),
        ({}, {"budget.epochs": -1}, ["budget.epochs = -1"]),
        ({}, {"budget.epochs": 1e-9}, ["less than one step"]),
    ],
)
def test_what_cannot_be_extended_is_refused_with_the_reason(
    keys: dict[str, Any], budget: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    short = train(tmp_path, **keys)
    with pytest.raises(InputError) as caught:
        short.extend(budget, quiet=True)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert [path.name for path in tmp_path.glob("*/seed-*")] == ["seed-0"]
    assert not list(tmp_path.glob(".*extending"))


def test_a_run_that_stopped_early_would_stop_under_any_budget(tmp_path: Path) -> None:
    keys = {"early_stop__patience": 1, "optimizer__lr": 1e-12, "schedules__lr": "constant", "budget__epochs": 5}
    short = train(tmp_path, **keys)
    assert "early stop" in short.record["reason"]
    with pytest.raises(
        InputError, match=r"ended at step \d+, before its budget was spent \(early stop: valid.loss did"
    ):
        short.extend({"budget.epochs": 9}, quiet=True)


def test_a_stream_without_a_length_has_no_epochs_to_compare(tmp_path: Path) -> None:
    training = case({"dataset": Points()}, **STREAM)
    short = attempt(tmp_path, training)
    assert short is not None
    with pytest.raises(InputError, match="stream has no length, so that an epoch is the whole training, 12 steps for"):
        short.extend({"budget.steps": LONG}, quiet=True)


def test_a_live_run_is_refused_and_so_is_one_that_was_never_started(tmp_path: Path) -> None:
    short = train(tmp_path, schedules__lr="constant")
    with holder(short.location) as process, pytest.raises(LiveRunError, match=f"process {process.pid}"):
        short.extend({"budget.epochs": 2}, quiet=True)
    with pytest.raises(StoreError, match=r"has no recipe\.yaml"):
        shoal.load(make_run(tmp_path, "other").path).extend({"budget.epochs": 2}, quiet=True)


def test_what_came_from_python_is_passed_again(tmp_path: Path) -> None:
    run = shoal.train({"budget.steps": 4, "batch_size": 8}, model="mlp", dataset=(X, Y), runs=tmp_path, quiet=True)
    with pytest.raises(StoreError, match=r"with a dataset from Python.*dataset=DATA\)\.extend\(\.\.\.\)"):
        shoal.load(run.folder).extend({"budget.steps": 8})
    with pytest.raises(
        InputError, match=r"cannot be continued as it began: the data are not what they were.*shoal migrate"
    ):
        shoal.load(run.folder, dataset=(X, 1 - Y)).extend({"budget.steps": 8})


def test_an_extended_run_is_not_extended_twice_and_continues_where_it_was_stopped(tmp_path: Path) -> None:
    short = train(tmp_path, schedules__lr="constant")
    extended = short.extend({"budget.epochs": 3}, quiet=True)
    before = content(extended.folder)
    assert short.extend({"budget.epochs": 3}, quiet=True) == extended
    assert train(tmp_path, schedules__lr="constant", budget__epochs=3) == extended
    assert content(extended.folder) == before
    further = extended.extend({"budget.epochs": 4}, quiet=True)
    assert further.record["extended_from"]["run"] == extended.label


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    short = train(tmp_path, schedules__lr="constant", checkpoint__every=0.5)
    (newest_one, older) = candidates(short.location.checkpoints)[:2]
    (newest_one / "engine.pt").write_bytes(b"nothing")
    extended = short.extend({"budget.epochs": 2}, quiet=True)
    assert extended.record["extended_from"]["step"] == step_of(older)
    loaded = newest(extended.location.checkpoints)
    assert loaded is not None
    assert loaded.step == 12


def test_by_the_command_it_is_trained_and_shown_like_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shoal.cli import main

    short = train(tmp_path, schedules__lr="constant")
    words = ["extend", short.label, "budget.epochs=2", "--runs", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert (shown["status"], shown["steps"]) == ("finished", 12)
    assert f"extending {short.label} from step 6 to 12" in err
    assert "resuming at step 6" in (RunFolder(Path(shown["folder"])).log).read_text()
    assert main(["extend", short.label, "budget.epochs=1", "--runs", str(tmp_path)]) == 2
    assert "that is the budget of" in capsys.readouterr().err


@pytest.mark.faults
def test_killed_while_it_begins_a_longer_run_is_extended_again(tmp_path: Path) -> None:
    short, alone = train(tmp_path / "short", **CONSTANT), train(tmp_path / "alone", **CONSTANT, budget__epochs=2)
    for at in (7, 13, 22, 33, 42, 43, 46, 65):  # before, while and after the folder is prepared and gets its name
        runs = tmp_path / f"cut-{at}"
        assert crash(lambda runs=runs: short.extend({"budget.epochs": 2}, runs=runs, quiet=True), at=at, under=runs)
        extended = short.extend({"budget.epochs": 2}, runs=runs, quiet=True)
        assert extended.label == alone.label
        assert result(runs) == result(tmp_path / "alone"), f"killed at event {at}"
        assert extended.record["extended_from"]["step"] == 6, f"killed at event {at}"
        assert not list(runs.glob(".*.extending"))
