"""Whole runs on tables: trained by the command, tested again, measured on other files, predicted from new rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.conftest import ShoalCli

import shoal
from shoal.datasets.columns import encode
from shoal.datasets.table_file import read_rows
from shoal.errors import DataError, RecipeError

QUICK = {"budget.epochs": 4, "model.width": 16, "model.depth": 1, "optimizer.lr": 0.02}


def write(folder: Path, rows: int = 400) -> pd.DataFrame:
    """Write a folder of a table with train and test; what is to be predicted follows from its columns."""
    draws = np.random.default_rng(0)
    frame = pd.DataFrame({"size": draws.normal(1000, 300, rows), "town": draws.choice(["Bern", "Chur"], rows)})
    frame["price"] = (frame["size"] * 2 + 500 * (frame["town"] == "Bern")).round().astype(int)
    frame["dear"] = np.where(frame["price"] > 2250, "yes", "no")
    frame["large"] = (frame["size"] > 1000).astype(int)
    frame["bern"] = frame["town"] == "Bern"
    frame.loc[3, "size"] = np.nan
    folder.mkdir()
    frame[: rows // 2].to_csv(folder / "train.csv", index=False)
    frame[rows // 2 :].to_csv(folder / "test.csv", index=False)
    return frame


def train(tmp_path: Path, target: Any, *ignore: str, **settings: Any) -> shoal.Run:
    keys = {"dataset.path": str(tmp_path / "homes"), "dataset.target": target, "dataset.ignore": list(ignore)}
    return shoal.train("table_mlp", {**QUICK, **keys}, runs=tmp_path / "runs", quiet=True, **settings)


def test_the_command_trains_on_a_table_and_tests_it_again(
    tmp_path: Path, shoal_cli: ShoalCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "homes")
    words = ["dataset.path=homes", "dataset.target=dear", "dataset.ignore=[price,large,bern]", "budget.epochs=4"]
    done = shoal_cli(["train", "table_mlp", *words, "--json"])
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["metrics"]["test.accuracy"] > 0.9
    run = shoal.load(tmp_path / result["folder"])
    facts = run.record["data"]
    assert facts["labels"] == ["no", "yes"]
    assert facts["encoding"]["columns"][1]["categories"] == ["Bern", "Chur"]
    monkeypatch.chdir(tmp_path)
    assert run.test()["test.accuracy"] == result["metrics"]["test.accuracy"]


def test_new_rows_are_predicted_from_the_runs_folder_alone(tmp_path: Path) -> None:
    frame = write(tmp_path / "homes")
    run = train(tmp_path, "dear", "price", "large", "bern")
    encoding, labels = run.record["data"]["encoding"], run.record["data"]["labels"]
    frame[200:][["town", "size"]].to_parquet(tmp_path / "new.parquet")
    inputs = encode(encoding, read_rows(tmp_path / "new.parquet", encoding))
    with torch.no_grad():
        found = run.model()(torch.from_numpy(inputs)).argmax(1)
    share = np.mean([labels[int(label)] for label in found] == frame["dear"][200:].to_numpy())
    assert share == pytest.approx(run.metrics["test.accuracy"])
    assert share > 0.9


def test_other_files_are_measured_by_the_columns_of_the_training(tmp_path: Path) -> None:
    frame = write(tmp_path / "homes")
    run = train(tmp_path, "dear", "price", "large", "bern")
    others = tmp_path / "others"
    others.mkdir()
    some = frame[200:].query("town == 'Chur'")
    some.to_csv(others / "train.csv", index=False)  # its own medians and categories would be others
    some.to_csv(others / "test.csv", index=False)
    assert run.test(path=str(others))["test.accuracy"] > 0.9
    frame.to_csv(tmp_path / "homes" / "train.csv", index=False)
    with pytest.raises(DataError, match="the data are not those that"):
        run.test()


def test_whole_numbers_are_regressed_where_the_task_says_so(tmp_path: Path) -> None:
    write(tmp_path / "homes")
    run = train(tmp_path, "price", "dear", "large", "bern", task="regression")
    assert run.metrics["test.mae"] > 0
    assert run.record["data"]["classes"] is None
    assert run.test() == {k: v for k, v in run.metrics.items() if k.startswith("test.")}


def test_real_values_are_not_classified(tmp_path: Path) -> None:
    write(tmp_path / "homes")
    with pytest.raises(RecipeError, match=r"the targets of this dataset are real-valued.*Choose task=regression"):
        train(tmp_path, "size", "dear", **{"dataset.missing": "drop"})


def test_several_columns_are_several_labels(tmp_path: Path) -> None:
    write(tmp_path / "homes")
    run = train(tmp_path, ["large", "bern"], "price", "dear", task="multilabel")
    assert run.metrics["test.exact_match"] > 0.8
    assert run.record["data"]["labels"] == ["large", "bern"]
    assert run.model()(torch.zeros(1, *run.record["data"]["input_shape"])).shape == (1, 2)


def test_several_columns_of_numbers_are_regressed(tmp_path: Path) -> None:
    write(tmp_path / "homes")
    run = train(tmp_path, ["price", "large"], "dear", "bern", task="regression")
    assert run.record["data"]["target_shape"] == [2]


def test_arrays_of_0_and_1_are_several_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(400, 5)).astype("f4")
    for kind in (np.int64, np.bool_, np.float32):
        run = shoal.train(
            "table_mlp", QUICK, dataset=(x, (x[:, :3] > 0).astype(kind)), task="multilabel", runs=tmp_path, quiet=True
        )
        assert run.metrics["valid.accuracy"] > 0.8
        assert run.metrics["valid.f1"] > 0.8
        assert run.test(split="valid") == {k: v for k, v in run.metrics.items() if k.startswith("valid.")}
