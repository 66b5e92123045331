from __future__ import annotations

from typing import Any

import pytest

from shoal.analysis import Experiment
from shoal.pages.varied import LINEAR, LOG, NAMES, varied


def axes(*configs: dict[str, Any], keys: list[str] | None = None) -> list[Any]:
    return varied([Experiment("x", (), config) for config in configs], keys)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.001, 0.01, 0.1], LOG),
        ([16, 32, 64, 128], LOG),
        ([1, 2, 3, 4, 5], LINEAR),
        ([0.0, 0.1, 1.0], LINEAR),
        ([-1.0, 1.0], LINEAR),
        ([0.1, 0.2], LINEAR),
        ([0.01, 0.1], LOG),
        ([1, None], NAMES),
        (["sgd", "adamw"], NAMES),
        ([True, False], NAMES),
        ([[1, 2], [3]], NAMES),
        ([1.0, float("inf")], NAMES),
        ([1e-300, 1e300], LOG),
        ([-1e308, 0.0, 1e308], LINEAR),
    ],
)
def test_the_scale_fits_the_values(values: list[Any], scale: str) -> None:
    (axis,) = axes(*({"a": value} for value in values))
    assert axis.scale == scale
    places = [axis.place(value) for value in axis.values]
    assert places == sorted(places)
    assert len(set(places)) == len(values)


def test_keys_that_do_not_vary_are_none_and_a_sweep_says_which_are_looked_at() -> None:
    configs = [{"a": 1, "b": at, "name": f"n{at}", "seed": at} for at in range(3)]
    assert [axis.key for axis in axes(*configs)] == ["b"]
    assert [axis.key for axis in axes(*configs, keys=["a"])] == []
    assert [axis.key for axis in axes(*configs, keys=["b", "unheard"])] == ["b"]


def test_values_that_are_the_same_in_words_are_one_and_long_ones_are_short() -> None:
    (axis,) = axes({"a": "x" * 99}, {"a": 2.0}, {"a": 2}, {})
    assert axis.texts == ["2", "null", f"{'x' * 37}..."]
    assert axis.marks == [(0.0, "2"), (1.0, "null"), (2.0, f"{'x' * 37}...")]
