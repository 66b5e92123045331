from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.synthetic import make_run

from shoal.store import record


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
