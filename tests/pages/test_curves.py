from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.pages.blocks import width
from shoal.pages.curves import BLOCKS, curve

VALUES = st.floats(allow_nan=True, allow_infinity=True)


def test_a_falling_loss_falls() -> None:
    drawn = curve("valid.loss", [(step, 1 - step / 100) for step in range(100)], columns=40, rows=4)
    assert drawn[0] == "valid.loss: 1.000 → 0.0100"
    assert drawn[1].startswith("1.000  |█")
    assert drawn[4].startswith("0.0100 |█")
    assert drawn[4].endswith("▁")
    assert drawn[-1].strip() == "step 0 to 99"


def test_the_extreme_is_told_where_it_is_not_the_last() -> None:
    assert "(lowest 0.5000 at step 20)" in curve("valid.loss", [(10, 1.0), (20, 0.5), (1200, 0.7)])[0]
    assert "(highest 0.9000 at step 20)" in curve("valid.accuracy", [(10, 0.1), (20, 0.9), (30, 0.7)])[0]


def test_what_is_not_finite_is_a_dot() -> None:
    drawn = curve("loss", [(0, 1.0), (1, math.nan), (2, 0.5)], columns=3, rows=2)
    assert "·" in drawn[2]
    assert curve("loss", [(0, math.nan)]) == []
    assert curve("loss", []) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_are_drawn_too(count: int) -> None:
    drawn = curve("loss", [(step, 1.0) for step in range(count)])
    assert "█" in "".join(drawn) or "▁" in "".join(drawn)


@given(st.lists(VALUES, max_size=200), st.integers(1, 100), st.integers(1, 10))
def test_any_values_are_drawn_in_their_room(values: list[float], columns: int, rows: int) -> None:
    drawn = curve("loss", [(float(step), value) for step, value in enumerate(values)], columns=columns, rows=rows)
    if not any(map(math.isfinite, values)):
        assert drawn == []
        return
    assert len(drawn) == rows + 2
    for line in drawn[1:-1]:
        cells = line.partition("|")[2]
        assert width(cells) <= columns
        assert set(cells) <= set(BLOCKS + "·")
