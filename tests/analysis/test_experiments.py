"""Runs as experiments: by signature, seeds in order, a sweep's runs wherever their folders are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run
from tests.synthetic_sweep import make_sweep

from shoal.analysis import of_runs, of_sweep
from shoal.store import RunFolder

GRID: dict[str, Any] = {"optimizer.lr": [0.01, 0.1]}


def test_runs_of_one_signature_are_one_experiment_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [make_run(tmp_path, "a", seed, metrics={"valid.loss": seed}) for seed in (10, 2)]
    renamed = make_run(tmp_path, "b", 3, of="a", metrics={"valid.loss": 3.0})
    other = make_run(tmp_path, "c")
    monkeypatch.chdir(tmp_path)
    again = RunFolder(seeds[0].path.relative_to(tmp_path))
    first, second = of_runs([*seeds, renamed, other, seeds[0], again])
    assert [member.seed for member in first.members] == [2, 3, 10]
    assert first.results("valid.loss") == {2: 2.0, 3: 3.0, 10: 10.0}
    assert (second.label, len(second.members)) == (other.path.parent.name, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, None, "x", True])
def test_a_result_is_a_finite_number_of_a_finished_run(tmp_path: Path, value: Any) -> None:
    metrics = {"valid.loss": value}
    runs = [
        make_run(tmp_path, "a", 0, metrics=metrics),
        make_run(tmp_path, "a", 1, status="failed", metrics={"valid.loss": 1.0}),
    ]
    (one,) = of_runs(runs)
    assert one.results("valid.loss") == {}


def test_a_sweep_finds_its_runs_by_identity_and_the_rest_are_queued(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, grid=GRID, seeds=3, epochs=4, states={(0, 1): "queued", (1, 2): "unreadable"})
    moved = tmp_path / sweep.points[0].run
    moved.parent.rename(tmp_path / "renamed")
    first, second = of_sweep(tmp_path, sweep)
    assert [member.summary.status for member in first.members] == ["finished", "queued", "finished"]
    assert first.members[0].folder.path.parent.name == "renamed"
    assert [member.summary.status for member in second.members] == ["finished", "finished", "unreadable"]
    assert "is damaged" in (second.members[2].summary.reason or "")
    assert [one.config["optimizer.lr"] for one in (first, second)] == [0.01, 0.1]


def test_the_recipe_of_a_queued_experiment_is_the_sweeps(tmp_path: Path) -> None:
    states = {(at, seed): "queued" for at in range(2) for seed in range(2)}
    sweep = make_sweep(tmp_path, grid=GRID, seeds=2, epochs=4, states=states)
    first, _ = of_sweep(tmp_path, sweep)
    assert first.config == {
        "name": "digits_mlp",
        "optimizer.name": "sgd",
        "model.name": "mlp",
        "budget.epochs": 4,
        "optimizer.lr": 0.01,
    }


def test_a_sweep_leads_nowhere_else(tmp_path: Path) -> None:
    outside = make_run(tmp_path / "outside", "a", metrics={"valid.loss": 1.0})
    sweep = make_sweep(tmp_path / "runs", grid=GRID, seeds=1, epochs=4)
    known = of_runs([outside])[0].members[0].summary
    point = replace(sweep.points[0], run=f"../outside/{outside.label}", signature=known.signature, seed=0)
    (one,) = of_sweep(tmp_path / "runs", replace(sweep, points=(point,)))
    assert (one.members[0].summary.status, one.results("valid.loss")) == ("queued", {})
