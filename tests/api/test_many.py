"""Many runs as a sequence and a table; one run's history as a frame."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas
import pytest
from tests.synthetic import make_run

import shoal
from shoal.api.many import Runs
from shoal.errors import InputError, StoreError
from shoal.recipe import parse
from shoal.store import RunFolder


def made(
    runs: Path, name: str, lr: float, *, seed: int = 0, optimizer: str = "sgd", accuracy: float = 0.5
) -> RunFolder:
    folder = make_run(runs, name, seed, metrics={"test.accuracy": accuracy}, history=3)
    recipe = parse({"name": name, "seed": seed, "optimizer": {"name": optimizer, "lr": lr}})
    folder.recipe.write_text(recipe.to_yaml())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made(tmp_path, "a", 0.1, accuracy=0.9)
    made(tmp_path, "a", 0.1, seed=1, accuracy=0.8)
    made(tmp_path, "b", 0.3, optimizer="adamw")
    return tmp_path


def test_runs_are_a_sequence(folder: Path) -> None:
    runs = shoal.runs(folder)
    assert isinstance(runs, Runs)
    assert len(runs) == 3
    assert [run.seed for run in runs] == [0, 1, 0]
    assert runs[-1] == list(runs)[2]
    assert runs[:2] == Runs([runs[0], runs[1]])
    assert runs[0] in runs
    assert repr(runs[:1]) == f"Runs of 1\n  {runs[0].label}"
    assert not shoal.runs(folder / runs[0].folder.parent.name)


def test_a_frame_has_one_row_a_run(folder: Path) -> None:
    frame = shoal.runs(folder).frame()
    assert list(frame.columns[:7]) == ["run", "name", "signature", "seed", "status", "steps", "folder"]
    assert list(frame["name"]) == ["a", "a", "b"]
    assert list(frame["seed"]) == [0, 1, 0]
    assert list(frame["optimizer.lr"]) == [0.1, 0.1, 0.3]
    assert list(frame["test.accuracy"]) == [0.9, 0.8, 0.5]
    assert frame["optimizer.beta1"].isna().tolist() == [True, True, False]
    assert frame.columns[-1] == "test.accuracy"
    assert frame.columns.is_unique
    assert frame.groupby("name")["test.accuracy"].mean()["a"] == pytest.approx(0.85)


def test_metrics_of_averaged_weights_are_metrics(folder: Path) -> None:
    make_run(folder, "averaged", metrics={"test.accuracy": 0.5, "test_average.accuracy": 0.75}).recipe.write_text(
        parse({"name": "averaged"}).to_yaml()
    )
    frame = shoal.runs(folder).frame(varying=True)
    assert list(frame.columns[-2:]) == ["test.accuracy", "test_average.accuracy"]
    assert frame["test_average.accuracy"].isna().tolist() == [True, True, False, True]


def test_a_frame_of_what_varies_leaves_out_the_rest(folder: Path) -> None:
    frame = shoal.runs(folder).frame(varying=True)
    assert set(frame.columns) >= {"run", "seed", "status", "optimizer.lr", "optimizer.name", "test.accuracy"}
    assert not {"batch_size", "model.name", "schedules.lr.name"} & set(frame.columns)


def test_an_empty_folder_has_an_empty_frame(tmp_path: Path) -> None:
    assert shoal.runs(tmp_path).frame().shape == (0, 7)
    with pytest.raises(StoreError, match="is not a folder of runs"):
        shoal.runs(tmp_path / "none")


def test_where_chooses_by_columns(folder: Path) -> None:
    runs = shoal.runs(folder)
    assert [run.seed for run in runs.where(name="a")] == [0, 1]
    assert [run.label for run in runs.where({"optimizer.name": "adamw"}, status="finished")] == [runs[2].label]
    assert len(runs.where({"optimizer.beta1": 0.5})) == 0
    with pytest.raises(InputError, match=r"where 'optimizer\.lrr': no run has it: did you mean 'optimizer\.lr'"):
        runs.where({"optimizer.lrr": 0.1})


def test_a_damaged_run_does_not_hide_the_others(folder: Path) -> None:
    broken = next(folder.glob("b-*/seed-0/run.json"))
    broken.write_text("{")
    frame = shoal.runs(folder).frame()
    assert list(frame["status"]) == ["finished", "finished", "unreadable"]
    assert frame["folder"][2] == str(broken.parent)
    assert frame["optimizer.lr"].isna().tolist() == [False, False, True]


def test_a_runs_frame_is_its_history(folder: Path) -> None:
    run = shoal.runs(folder)[0]
    frame = run.frame()
    assert frame.to_dict("records") == run.history
    assert isinstance(frame, pandas.DataFrame)


def test_histories_are_one_long_frame(folder: Path) -> None:
    runs = shoal.runs(folder)
    frame = runs.histories()
    assert list(frame.columns[:4]) == ["run", "seed", "step", "epoch"]
    assert list(frame["run"]) == [run.label for run in runs for _ in range(3)]
    assert list(frame["seed"]) == [0] * 3 + [1] * 3 + [0] * 3
    assert runs[:0].histories().empty


def test_runs_are_tagged_and_noted(folder: Path) -> None:
    first, second, _ = shoal.runs(folder)
    first.tag("good", "paper")
    first.untag("paper")
    first.annotate("the baseline")
    first.annotate("and more", append=True)
    assert (first.tags, first.note) == (("good",), "the baseline\nand more")
    assert (second.tags, second.note) == ((), "")
    assert [run.label for run in shoal.runs(folder).where(tags="good")] == [first.label]
    with pytest.raises(InputError, match="cannot be a tag"):
        first.tag("not good")


def test_without_pandas_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    runs = shoal.runs(folder)
    for ask in (runs.frame, runs.histories, runs[0].frame):
        with pytest.raises(InputError, match=r"pandas, which is not installed: pip install 'shoal\[frame\]'"):
            ask()
    assert len(runs.rows()) == 3
