"""Curves of many runs: the seeds of an experiment at the same steps, thinned, with what is missing left out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run

from shoal.analysis import of_runs
from shoal.pages import bundles
from shoal.pages.bundles import Bundle, curves_of
from shoal.store import Journal, RunFolder


def run(runs: Path, name: str, seed: int, rows: list[dict[str, Any]]) -> RunFolder:
    folder = make_run(runs, name, seed)
    with Journal(folder.history) as history:
        for row in rows:
            history.append(row)
    return folder


def losses(values: list[Any], first: int = 1) -> list[dict[str, Any]]:
    return [{"step": step, "valid.loss": value} for step, value in enumerate(values, first)]


def test_seeds_stand_at_the_same_steps_and_missing_values_are_left_out_of_the_band(tmp_path: Path) -> None:
    seeds = [losses([3.0, 2.0, 1.0]), losses([5.0, None]), losses([4.0], first=2)]
    experiments = of_runs([run(tmp_path, "a", seed, rows) for seed, rows in enumerate(seeds)])
    (bundle,) = curves_of(experiments)["valid.loss"]
    assert bundle is not None
    assert list(bundle.steps) == [1, 2, 3]
    assert [[value for value in one if math.isfinite(value)] for one in bundle.values] == [[3, 2, 1], [5], [4]]
    assert bundle.band() == [(1, 4, 3, 5), (2, 3, 2, 4), (3, 1, 1, 1)]


def test_an_experiment_without_a_metric_has_none_and_test_is_no_curve(tmp_path: Path) -> None:
    rows = [{"step": 1, "train.loss": 1.0, "lr": 0.1}, {"step": 1, "test.loss": 1.0}]
    experiments = of_runs([run(tmp_path, "a", 0, losses([1.0])), run(tmp_path, "b", 0, rows), make_run(tmp_path, "c")])
    curves = curves_of(experiments)
    assert list(curves) == ["valid.loss", "train.loss"]
    assert [[one is not None for one in row] for row in curves.values()] == [[True, False, False], [False, True, False]]


@pytest.mark.parametrize(("numbers", "points", "metrics"), [(10**6, 200, 3), (300, 50, 3), (60, 30, 1)])
def test_curves_fit_the_room_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: int, points: int, metrics: int
) -> None:
    """With room for few numbers there are fewer points to a curve, then fewer metrics."""
    rows = [{"step": step, "valid.loss": 1.0, "train.loss": 2.0, "valid.x": 3.0} for step in range(1, 1001)]
    experiments = of_runs([run(tmp_path, "a", seed, rows) for seed in range(2)])
    monkeypatch.setattr(bundles, "MOST_NUMBERS", numbers)
    curves = curves_of(experiments)
    assert len(curves) == metrics
    (bundle,) = curves["valid.loss"]
    assert bundle is not None
    assert (len(bundle.steps), bundle.steps[0], bundle.steps[-1]) == (points, 1, 1000)


@pytest.mark.parametrize("size", [1e308, -1e308])
def test_the_largest_numbers_have_a_mean(size: float) -> None:
    assert Bundle([1.0], [[size], [size]]).band() == [(1.0, size, size, size)]
