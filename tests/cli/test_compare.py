"""`shoal compare`: what it prints and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run, signature
from tests.synthetic_sweep import make_sweep

FEW: dict[str, Any] = {"optimizer.lr": [0.01, 0.1]}


@pytest.fixture
def two(runs: Path) -> tuple[str, str]:
    """Two experiments of a sweep, with four seeds each: their labels."""
    sweep = make_sweep(runs, grid=FEW, seeds=4, epochs=10)
    return sweep.points[0].run.partition("/")[0], sweep.points[4].run.partition("/")[0]


def test_two_experiments_are_compared_seed_by_seed(shoal: Any, two: tuple[str, str]) -> None:
    answer = shoal("compare", *two)
    assert answer.code == 0
    assert answer.lines[0].split() == ["A", two[0], "(4", "seeds)", "4", "✓", "finished"]
    assert "optimizer.lr  0.01  0.1" in answer.lines
    assert any(line.startswith("The same in all: data d9dee91baaa8; examples train 1,257") for line in answer.lines)
    (words,) = (line for line in answer.lines if line.startswith("test.accuracy: "))
    assert words.startswith("test.accuracy: B is better than A by 0.")
    assert words.endswith(", 4 shared seeds)")


def test_json_has_the_same_as_data(shoal: Any, two: tuple[str, str]) -> None:
    (line,) = shoal("compare", *two, "--json").lines
    told = json.loads(line)
    assert [item["title"] for item in told["items"]] == [f"{label} (4 seeds)" for label in two]
    assert [run["seed"] for run in told["items"][0]["runs"]] == [0, 1, 2, 3]
    assert told["recipe"] == [{"key": "optimizer.lr", "values": [0.01, 0.1], "from": ["said", "said"]}]
    row = told["results"]["test.accuracy"]
    assert row[0]["low"] < row[0]["mean"] < row[0]["high"] < row[1]["mean"]
    verdict = next(one for one in told["verdicts"] if one["metric"] == "test.accuracy")
    assert (verdict["kind"], verdict["n"]) == ("paired", [4, 4])
    assert verdict["high"] < 0


def test_single_runs_are_compared_over_their_examples(shoal: Any, two: tuple[str, str]) -> None:
    out = shoal("compare", f"{two[0]}/seed-1", f"{two[1]}/seed-3").out
    assert "one run each, 360 examples: of the examples, not of seeds)" in out
    assert "test.loss: not known: " in out


def test_a_sweep_is_its_experiments_and_beside_others_its_best(shoal: Any, runs: Path, two: tuple[str, str]) -> None:
    alone = shoal("compare", "grid")
    assert [line[:1] for line in alone.lines[:2]] == ["A", "B"]
    assert two[1] in alone.lines[0]  # the best first
    make_sweep(runs, "wide", grid={"model.width": [16, 32]}, seeds=4, epochs=10)
    beside = shoal("compare", "grid", "wide")
    assert two[1] in beside.lines[0]
    assert "A is the best of the 2 experiments of grid by valid.accuracy." in beside.lines
    assert "optimizer.lr  0.1            0.1 (default)" not in beside.lines
    assert any(line.split()[:3] == ["model.width", "128", "(default)"] for line in beside.lines)


def test_many_experiments_are_rows_and_one_sentence_a_metric(shoal: Any, runs: Path) -> None:
    make_sweep(runs, grid={"optimizer.lr": [0.001 * 2**at for at in range(10)]}, seeds=3, epochs=10)
    answer = shoal("compare", "grid")
    assert [line[0] for line in answer.lines[:8]] == list("ABCDEFGH")
    assert "These are the best 8 of the 10 experiments of grid by valid.accuracy." in answer.lines
    assert sum(line.startswith("valid.accuracy: ") for line in answer.lines) == 1
    assert len(json.loads(shoal("compare", "grid", "--json").out)["verdicts"]) == 4 * 7


def test_code_host_and_versions_that_differ_are_told(shoal: Any, runs: Path) -> None:
    git = {"commit": "c0ffee" * 6, "branch": "main", "dirty": True}
    facts: dict[str, Any] = {"metrics": {"test.accuracy": 0.5}, "host": "one"}
    identity = {"recipe": {}, "digests": {"dataset": "d" * 64, "model": "a" * 64}}
    made = make_run(runs, "a", provenance={"git": git, "versions": {"torch": "2.12"}}, identity=identity, **facts)
    other = {"recipe": {}, "digests": {"dataset": "e" * 64, "model": "b" * 64}}
    provenance = {"git": {**git, "dirty": False}, "versions": {"torch": "2.13"}}
    second = make_run(runs, "b", provenance=provenance, identity=other, **{**facts, "host": "two"})
    both = "diff --git a/n.py b/n.py\n@@ -1 +1 @@\n-a\n+b\n"
    made.patch.write_text(f"{both}diff --git a/m.py b/m.py\n--- a/m.py\n+++ b/m.py\n@@ -1 +1,2 @@\n-a\n+b\n+c\n")
    second.patch.write_text(both)
    lines = [" ".join(line.split()) for line in shoal("compare", "a", "b").lines]
    for line in (
        "commit c0ffeec0ffee, with changes that were not committed c0ffeec0ffee",
        "data dddddddddddd eeeeeeeeeeee",
        "source of the model aaaaaaaaaaaa bbbbbbbbbbbb",
        "torch 2.12 2.13",
        "host one two",
        "code.patch differs: m.py (A +2 -1, B unchanged)",
        "The data differ: results on other data do not compare.",
    ):
        assert line in lines, line


def test_defaults_stand_where_one_does_not_have_a_key(shoal: Any, runs: Path) -> None:
    said = [
        {"key": "optimizer.name", "value": "sgd", "default": "sgd"},
        {"key": "optimizer.lr", "value": 0.3, "default": 0.1},
    ]
    metrics = {"test.accuracy": 0.5}
    make_run(runs, "a", said=said, metrics=metrics)
    make_run(runs, "b", said=said[:1], metrics=metrics)
    adam = [{"key": "optimizer.name", "value": "adamw", "default": "sgd"}]
    make_run(runs, "c", said=adam, metrics=metrics)
    assert "optimizer.lr  0.3  0.1 (default)" in shoal("compare", "a", "b").lines
    lines = shoal("compare", "a", "c").lines
    assert "optimizer.name  sgd  adamw" in lines
    assert "optimizer.lr    0.3  -" in lines


def test_seeds_that_failed_are_left_out_and_named(shoal: Any, runs: Path) -> None:
    states = {(0, 1): "failed", (1, 0): "killed"}
    sweep = make_sweep(runs, grid=FEW, seeds=4, epochs=10, states=states)
    labels = [sweep.points[at].run.partition("/")[0] for at in (0, 4)]
    lines = shoal("compare", *labels).lines
    assert "A: seeds that are not finished are left out of its results: 1 (failed)." in lines
    assert any(line.endswith("2 shared seeds)") for line in lines)
    assert "3 ✓ finished, 1 ✗ failed" in lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to compare: name two or more"),
        (["a"], "'a' alone cannot be compared: name another run, experiment or sweep beside it."),
        (["a", "a"], "'a' and 'a' are the same runs: name two that differ."),
        (["a", "nope"], "no run 'nope' in 'runs' (3 runs)"),
        (["a", "nope"], "Nor is it a sweep: there are empty."),
        (["a", "game"], "A and B have no metric in common: A has test.accuracy; B has reward."),
        (["a", "empty"], "the sweep 'empty' has no runs"),
        (["a", "b"], "'b' means 2 experiments: "),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(shoal: Any, runs: Path, words: list[str], message: str) -> None:
    make_run(runs, "a", metrics={"test.accuracy": 0.5})
    make_run(runs, "game", metrics={"reward": 3.0})
    make_run(runs, "c", metrics={"reward": 3.0})
    if "b" in words:
        make_run(runs, "b", of="b1")
        make_run(runs, "b", of="b2")
    make_sweep(runs, "empty", grid={"x": []})
    answer = shoal("compare", *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_runs_without_results_are_compared_by_what_they_are(shoal: Any, runs: Path) -> None:
    make_run(runs, "a", status="queued", steps=0)
    folder = make_run(runs, "b", status="running", history=4)
    folder.record.write_text(folder.record.read_text().replace('"finished"', '"running"'))
    lines = shoal("compare", "a", signature("b")[:8]).lines
    assert any(line.split()[:2] == ["train.loss", "-"] and "0.5000 so far" in line for line in lines)


def test_a_run_that_cannot_be_read_is_named(shoal: Any, runs: Path) -> None:
    make_run(runs, "a", metrics={"test.accuracy": 0.5})
    make_run(runs, "b", metrics={"test.accuracy": 0.5}).record.write_text("{")
    lines = shoal("compare", "a", "b").lines
    assert "? unreadable: the record" in lines[1]
