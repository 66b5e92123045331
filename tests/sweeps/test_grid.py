from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from shoal.errors import InputError
from shoal.sweeps.grid import of_words

BASE: Mapping[str, Any] = {"optimizer.name": "sgd", "model.width": 32}


def points(words: Sequence[str] = (), **options: Any) -> list[dict[str, Any]]:
    return list(of_words(words, **options).points(BASE))


def test_axes_are_crossed_and_the_last_one_said_varies_fastest() -> None:
    assert points(["a=1,2", "b=x,y", "c=0"]) == [
        {"c": 0, "a": 1, "b": "x"},
        {"c": 0, "a": 1, "b": "y"},
        {"c": 0, "a": 2, "b": "x"},
        {"c": 0, "a": 2, "b": "y"},
    ]


def test_zipped_axes_move_together() -> None:
    found = points(["c=5,6"], zipped=[["a=1,2", "b=3,4"]])
    assert [(point["c"], point["a"], point["b"]) for point in found] == [(5, 1, 3), (5, 2, 4), (6, 1, 3), (6, 2, 4)]


def test_seeds_are_0_to_n_minus_1_and_vary_fastest() -> None:
    assert [(point["a"], point["seed"]) for point in points(["a=1,2"], seeds=2)] == [(1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("optimizer=sgd", {"sgd"}),
        ("optimizer.name=sgd", {"sgd"}),
        ("optimizer!=sgd", {"adamw"}),
        ("model.width>=32", {"sgd", "adamw"}),
        ("model.width>32", set[str]()),
        ("model.widht=32", set[str]()),
        ("optimizer>3", set[str]()),
    ],
)
def test_a_condition_adds_axes_where_it_holds_of_the_point_or_of_the_base(condition: str, met: set[str]) -> None:
    found = points(["optimizer=sgd,adamw"], conditional=[[condition, "optimizer.momentum=0,0.9"]])
    with_it = [point["optimizer"] for point in found if "optimizer.momentum" in point]
    assert set(with_it) == met
    assert len(found) == 2 + len(met)


def test_points_are_left_out_where_all_conditions_hold() -> None:
    found = points(["a=1,2", "b=1,2"], without=[["a=1", "b>1"]])
    assert [(point["a"], point["b"]) for point in found] == [(1, 1), (2, 1), (2, 2)]


def test_seeds_are_left_out_by_a_condition_too() -> None:
    assert [point["seed"] for point in points(["a=1"], seeds=4, without=[["seed>1"]])] == [0, 1]
    assert [point["seed"] for point in points(["a=1"], seeds=3, without=[["seed=0"]])] == [1, 2]


def test_values_have_the_types_of_a_recipe() -> None:
    (found,) = points(["a=1", "b=1.5", "c=true", "d=null", "e=[1,2]", "f='1'", "g=text"])
    assert found == {"a": 1, "b": 1.5, "c": True, "d": None, "e": [1, 2], "f": "1", "g": "text"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"words": ["a"]}, "expected KEY=V1,V2"),
        ({"words": ["a=1", "a=2,3"]}, "a is given twice"),
        ({"words": ["a=1,2"], "zipped": [["a=1,2", "b=1,2"]]}, "a is given twice"),
        ({"zipped": [["a=1,2"]]}, "two axes or more"),
        ({"zipped": [["a=1,2", "b=1,2,3"]]}, "a has 2, b has 3"),
        ({"words": ["seed=1,2"], "seeds": 2}, "both say the seeds"),
        ({"conditional": [["a=1"]]}, "expected what it adds"),
        ({"conditional": [["a", "b=1"]]}, "expected a condition"),
        ({"words": ["a=lin:0:1:1000", "b=lin:0:1:1000"]}, "1,000,000 points"),
    ],
)
def test_a_grid_that_cannot_be_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        points(**options)
