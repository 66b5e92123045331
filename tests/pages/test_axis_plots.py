"""What plots of one key and maps of two show: means over all runs with a value, and the best experiment there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.pages.test_markup import Seen
from tests.synthetic import make_run

from shoal.analysis import of_runs
from shoal.pages.axis_plots import axis_plot, spread
from shoal.pages.heat_maps import heats
from shoal.pages.sweep_report import sweep_report
from shoal.pages.sweep_view import View, view_of

METRICS = ("valid.loss", "valid.accuracy")


def view(runs: Path, metric: str, results: dict[tuple[int, int], list[float]]) -> View:
    """A view of experiments with keys a and b, each with its results by seed."""
    folders = [
        make_run(runs, f"x{a}-{b}", seed, identity={"recipe": {"a": a, "b": b}}, metrics={metric: value})
        for (a, b), values in results.items()
        for seed, value in enumerate(values)
    ]
    return view_of("some", of_runs(folders))


@pytest.mark.parametrize(
    ("metric", "best"), [("valid.loss", [(1.0, 0.2), (2.0, 0.5)]), ("valid.accuracy", [(1.0, 0.7), (2.0, 0.9)])]
)
def test_a_plot_has_all_runs_their_mean_and_the_best_experiment(
    tmp_path: Path, metric: str, best: list[tuple[float, float]]
) -> None:
    shown = view(tmp_path, metric, {(1, 1): [0.1, 0.3], (1, 2): [0.7], (2, 1): [0.5, 0.5], (2, 2): [0.8, 1.0]})
    found = spread(shown, shown.axes[0], metric)
    assert sorted(len(runs) for _, runs in found.points.values()) == [1, 2, 2, 2]
    assert found.means == [(1.0, pytest.approx(1.1 / 3)), (2.0, pytest.approx(0.7))]
    assert found.best == [(place, pytest.approx(value)) for place, value in best]


def test_a_key_with_many_values_has_points_and_no_line(tmp_path: Path) -> None:
    shown = view(tmp_path, "valid.loss", {(at, 1): [1.0] for at in range(30)})
    found = spread(shown, shown.axes[0], "valid.loss")
    assert (len(found.points), found.means, found.best) == (30, [], [])
    assert list(heats(shown, "valid.loss")) == []


def test_a_map_has_the_mean_of_each_pair_and_leaves_out_pairs_without_a_result(tmp_path: Path) -> None:
    shown = view(tmp_path, "valid.loss", {(1, 1): [1.0, 3.0], (1, 2): [5.0], (2, 2): [math.nan]})
    (heat,) = heats(shown, "valid.loss")
    assert (heat.x.key, heat.y.key) == ("a", "b")
    assert heat.cells == {(0, 0): 2.0, (0, 1): 5.0}


def test_of_many_keys_the_first_are_drawn_and_the_page_says_so(tmp_path: Path) -> None:
    folders = [
        make_run(
            tmp_path, f"x{at}", identity={"recipe": {f"k{key}": at for key in range(12)}}, metrics={"valid.loss": at}
        )
        for at in range(2)
    ]
    shown = view_of("many", of_runs(folders))
    text = Seen(sweep_report(shown)).text
    assert len(list(heats(shown, "valid.loss"))) == 15
    assert "The first 15 of 66 are drawn." in text
    assert "The first 10 of 12 are drawn." in text


def test_what_no_run_has_is_not_drawn(tmp_path: Path) -> None:
    shown = view(tmp_path, "valid.loss", {(1, 1): [1.0], (2, 1): [2.0]})
    assert axis_plot(shown, shown.axes[0], "test.loss") is None
    assert list(heats(shown, "test.loss")) == []
