from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run, signature

from shoal.store import record, sweeps


def test_the_history_is_exported(shoal: Any, runs: Path, tmp_path: Path) -> None:
    make_run(runs, history=3)
    answer = shoal("export", "digits", "--history", "h.csv")
    assert (answer.code, answer.lines, answer.err) == (0, ["history      h.csv"], "")
    assert (tmp_path / "h.csv").read_text().startswith("step,epoch,train.loss,")


def test_json_names_the_files(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, history=3)
    (line,) = shoal("export", "digits", "--history", "h.parquet", "--json").lines
    result = {**record.result(folder), "folder": f"runs/{folder.label}"}
    assert json.loads(line) == {**result, "files": {"history": "h.parquet"}}


def test_nothing_wanted_is_bad_input_and_says_what_there_is(shoal: Any, runs: Path) -> None:
    make_run(runs, history=3)
    for words in ([], ["--json"]):
        answer = shoal("export", "digits", *words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("shoal: there is nothing to export: expected at least one of --weights")


def test_a_file_is_overwritten_with_force_only(shoal: Any, runs: Path, tmp_path: Path) -> None:
    make_run(runs, history=3)
    (tmp_path / "h.csv").write_text("mine")
    answer = shoal("export", "digits", "--history", "h.csv")
    assert answer.code == 2
    assert "only overwritten with --force" in answer.err
    assert (tmp_path / "h.csv").read_text() == "mine"
    assert shoal("export", "digits", "--history", "h.csv", "--force").code == 0
    assert (tmp_path / "h.csv").read_text() != "mine"


def test_a_trained_run_is_exported_in_every_form(shoal: Any, runs: Path, tmp_path: Path) -> None:
    assert shoal("train", "digits_mlp", "budget.steps=4", "log.tensorboard=true", "--json").code == 0
    forms = {"weights": "w.safetensors", "onnx": "m.onnx", "history": "h.csv", "tensorboard": "board"}
    words = [word for form, name in forms.items() for word in (f"--{form}", name)]
    answer = shoal("export", "digits_mlp", *words, "--json")
    assert (answer.code, answer.err) == (0, "")
    (line,) = answer.lines
    assert json.loads(line)["files"] == forms
    assert all((tmp_path / name).exists() for name in forms.values())
    assert not list(tmp_path.glob(".*"))


def test_a_run_without_weights_is_bad_input(shoal: Any, runs: Path, tmp_path: Path) -> None:
    make_run(runs)
    answer = shoal("export", "digits", "--weights", "w.safetensors")
    assert (answer.code, answer.out) == (2, "")
    assert "has no checkpoint yet" in answer.err
    assert not (tmp_path / "w.safetensors").exists()


def test_many_runs_are_exported_as_tables(shoal: Any, runs: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_run(runs, name, history=2)
    answer = shoal("export", "--table", "t.csv", "--histories", "h.parquet", "--hiplot", "p.csv")
    assert (answer.code, answer.err) == (0, "3 runs\n")
    assert answer.lines == ["table        t.csv", "histories    h.parquet", "hiplot       p.csv"]
    found = json.loads(shoal("export", "a", "b", "--table", "two.csv", "--json").out)
    assert found == {"runs": 2, "files": {"table": "two.csv"}}
    assert (tmp_path / "two.csv").read_text().count("\n") == 3
    sweeps.write(runs, sweeps.Sweep("some", points=(sweeps.Point("", signature("c"), 0),)))
    assert shoal("export", "--sweep", "some", "--table", "one.csv").err == "1 run\n"
    assert f"c-{signature('c')[:12]}/seed-0" in (tmp_path / "one.csv").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--table", "t.xlsx"], "expected a name that ends in .csv or .parquet, such as t.csv or t.parquet"),
        (["--hiplot", "t.parquet"], "expected a name that ends in .csv, such as t.csv"),
        (["--table", "there.csv"], "the file exists, and is only overwritten with --force"),
        (["a", "--table", "t.csv", "--weights", "w.safetensors"], "--weights is of one run and --table of many"),
        (["a", "--table", "t.csv", "--which", "raw"], "--which is of one run and --table of many"),
        (["a", "b", "--history", "h.csv"], "--history: name one run"),
        (["--history", "h.csv"], "--history: name one run"),
        (["a", "--sweep", "some", "--table", "t.csv"], "--sweep some says which runs are meant"),
        (["--sweep", "some", "--table", "t.csv"], "unknown sweep 'some'"),
        (["--table", "t.csv", "--runs", "empty"], "there are no runs in 'empty' yet"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    shoal: Any, runs: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    for name in ("a", "b"):
        make_run(runs, name, history=2)
    (tmp_path / "there.csv").write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    answer = shoal("export", *words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == before
