from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.pages.series import MOST, Quantity, Series, hypers, points, quantities, rate, thinned

ROWS = [
    {"step": 1, "epoch": 0.5, "lr": 0.1, "train.accuracy": 0.5, "train.loss": 2.0},
    {"step": 2, "epoch": 1.0, "lr": 0.05, "train.loss": 1.0, "valid.loss": None, "valid.top5": 1.0},
    {"step": 2, "epoch": 1.0, "test.loss": 1.1},
]


def test_the_splits_of_a_metric_are_drawn_together_and_loss_first() -> None:
    found = quantities(ROWS)
    assert [quantity.name for quantity in found] == ["loss", "accuracy", "top5"]
    assert [series.name for series in found[0].series] == ["train", "valid", "test"]
    assert found[0].series[0].points == [(1.0, 2.0), (2.0, 1.0)]
    assert math.isnan(found[0].series[1].points[0][1])


def test_averaged_weights_are_drawn_with_their_split_and_clipping_in_charts_of_its_own() -> None:
    row = {
        "train.loss": 1.0,
        "train.grad_norm": 3.0,
        "train.clipped": 0.5,
        "valid_average.loss": 1.0,
        "valid.loss": 2.0,
    }
    found = quantities([{"step": 1, **row, "valid.top5": 1.0}])
    assert [quantity.name for quantity in found] == ["loss", "top5", "norm of the gradient", "share of clipped steps"]
    assert [series.name for series in found[0].series] == ["train", "valid", "valid_average"]


def test_hyperparameters_are_drawn_one_by_one() -> None:
    (only,) = hypers(ROWS)
    assert (only.name, list(only.series[0].points)) == ("learning rate", [(1.0, 0.1), (2.0, 0.05)])


def test_odd_rows_are_left_out() -> None:
    odd = [{"train.loss": 1.0}, {"step": "2", "train.loss": 1.0}, {"step": True, "train.loss": 1.0}]
    odd += [{"step": 3, "train.loss": "x"}, {"step": 4, "train.loss": True}, {"step": 5, "train.loss": [1]}]
    assert points(odd, "train.loss") == []
    assert quantities(odd) == []


def test_one_rate_is_no_curve() -> None:
    assert rate([{"step": 1, "examples_per_second": 3.0}]) is None
    assert rate([{"step": step, "examples_per_second": 3.0} for step in (1, 2)]) is not None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=400), st.integers(8, 60))
def test_thinning_keeps_ends_and_extremes_in_order(values: list[float], most: int) -> None:
    drawn = [(float(step), value) for step, value in enumerate(values)]
    kept = thinned(drawn, most)
    assert len(kept) <= max(most, 8)
    assert [step for step, _ in kept] == sorted({step for step, _ in kept})
    assert kept[0][0] == 0
    assert kept[-1][0] == len(values) - 1
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        assert {min(finite), max(finite)} <= {value for _, value in kept}


def test_few_points_are_all_kept() -> None:
    drawn = [(float(step), 1.0) for step in range(MOST)]
    assert thinned(drawn) == drawn


@pytest.mark.parametrize(
    ("values", "spans"),
    [([1.0, 0.01], True), ([1.0, 0.5], False), ([1.0, 0.0], False), ([math.nan], False), ([], False)],
)
def test_a_logarithmic_axis_is_offered_where_it_helps(values: list[float], spans: bool) -> None:
    assert Quantity("loss", [Series("train", list(enumerate(values)))]).spans_decades is spans
