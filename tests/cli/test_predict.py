"""`shoal predict` as a person meets it: lines, JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .conftest import Shoal

PICTURES = np.random.default_rng(0).integers(0, 17, size=(3, 1, 8, 8)).astype("uint8")


@pytest.fixture
def digits(shoal: Shoal, tmp_path: Path) -> Shoal:
    assert shoal("train", "digits_mlp", "budget.epochs=2").code == 0
    np.save(tmp_path / "x.npy", PICTURES)
    return shoal


@pytest.fixture
def text(shoal: Shoal, tmp_path: Path) -> Shoal:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 60)
    words = ["model.width=16", "model.depth=1", "model.heads=2", "dataset.context=16", "batch_size=8"]
    steps = ["budget.steps=80", "evaluate.every=80", "optimizer.lr=0.02"]
    assert shoal("train", "shakespeare_gpt", "dataset.path=a.txt", *words, *steps).code == 0
    return shoal


def test_a_line_an_input_with_the_likeliest_classes(digits: Shoal) -> None:
    answer = digits("predict", "digits_mlp", "x.npy")
    assert answer.code == 0
    assert len(answer.lines) == 3
    assert answer.lines[0].startswith("x.npy, row 0  ")
    assert len(answer.lines[0].split("  ")) == 4
    assert len(digits("predict", "digits_mlp", "x.npy", "--top", "1").lines[0].split("  ")) == 2


def test_json_is_an_object_an_input_and_nothing_else(digits: Shoal) -> None:
    answer = digits("predict", "--json", "digits_mlp", "x.npy", "--top", "10")
    rows = [json.loads(line) for line in answer.lines]
    assert [row["input"] for row in rows] == ["x.npy, row 0", "x.npy, row 1", "x.npy, row 2"]
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert max(row["probabilities"], key=row["probabilities"].get) == row["predicted"]


def test_a_text_goes_on(text: Shoal) -> None:
    answer = text("predict", "shakespeare_gpt", "the", "cat ", "--tokens", "16", "--temperature", "0")
    assert answer.code == 0
    assert answer.out == "the cat sat on the mat. \n"
    told = text("predict", "shakespeare_gpt", "the ", "--tokens", "5", "--json", "--seed", "3")
    assert json.loads(told.out).keys() == {"input", "predicted"}
    assert len(json.loads(told.out)["predicted"]) == 5


def test_what_is_refused_leaves_stdout_empty(digits: Shoal) -> None:
    for words, message in (
        ((), "expected one INPUT at least"),
        (("gone.npy",), "gone.npy: there is no such file"),
        (("x.npy", "--tokens", "5"), "--tokens is for runs that were trained on text"),
        (("x.npy", "--device", "tpu"), "tpu"),
    ):
        answer = digits("predict", "digits_mlp", "--json", *words)
        assert answer.code == 2
        assert answer.out == ""
        assert message in answer.err


def test_a_run_that_is_not_there_is_told(shoal: Shoal) -> None:
    answer = shoal("predict", "nothing", "x.npy")
    assert answer.code == 2
    assert "nothing" in answer.err
