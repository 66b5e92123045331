from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from tests.synthetic import make_run

from shoal.pages.blocks import plain
from shoal.pages.experiments_table import Experiment, experiments, experiments_grid
from shoal.store import RunId, create, summaries


def rows(found: list[Experiment], *metrics: str) -> list[str]:
    return plain([experiments_grid(found, metrics)])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_seeds_are_one_row_with_mean_deviation_and_number(runs: Path) -> None:
    for seed, value in enumerate((0.9, 0.8, 0.85)):
        make_run(runs, "a", seed, metrics={"test.accuracy": value})
    make_run(runs, "b", metrics={"test.accuracy": 0.5})
    a, b = experiments(summaries(runs))
    assert (a.metrics["test.accuracy"].mean, a.metrics["test.accuracy"].n) == (pytest.approx(0.85), 3)
    assert a.metrics["test.accuracy"].deviation == pytest.approx(statistics.stdev([0.9, 0.8, 0.85]))
    assert b.metrics["test.accuracy"].deviation is None
    one, other = rows([a, b], "test.accuracy", "test.loss")
    assert "✓ 3 finished" in one
    assert "test.accuracy=0.8500 ± 0.0500 (3)" in one
    assert "test.accuracy=0.5000 (1)  " in other
    assert "test.loss=-" in other
    assert a.result()["metrics"] == {
        "test.accuracy": {"mean": pytest.approx(0.85), "deviation": pytest.approx(0.05), "n": 3}
    }
    assert (a.result()["seeds"], a.result()["statuses"]) == ([0, 1, 2], {"finished": 3})


def test_only_finished_seeds_count(runs: Path) -> None:
    make_run(runs, "a", 0, metrics={"test.accuracy": 0.9})
    make_run(runs, "a", 1, metrics={"test.accuracy": 0.1}, status="failed", reason="no")
    make_run(runs, "a", 2, status="running", metrics={}, history=2)
    (found,) = experiments(summaries(runs))
    assert (found.metrics["test.accuracy"].mean, found.metrics["test.accuracy"].n) == (0.9, 1)
    assert found.counts == {"finished": 1, "failed": 1, "killed": 1}
    (row,) = rows([found], "test.accuracy")
    assert row.startswith("✓ 1 finished, ✗ 1 failed, † 1 killed")


def test_an_experiment_is_its_signature_whatever_its_folders_are_called(runs: Path) -> None:
    folder = make_run(runs, "a", 0)
    folder.path.parent.rename(runs / "renamed")
    make_run(runs, "a", 1)
    create(runs, RunId("a", make_run(runs, "a", 2).label and "0" * 32, 0))
    found = experiments(summaries(runs))
    assert [len(one.runs) for one in found] == [1, 3]


def test_a_seed_that_has_not_begun_belongs_to_its_experiment(runs: Path) -> None:
    folder = make_run(runs, "a", 0)
    folder.path.with_name("seed-1").mkdir()
    (found,) = experiments(summaries(runs))
    assert found.counts == {"finished": 1, "queued": 1}
