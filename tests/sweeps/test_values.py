from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InputError
from shoal.sweeps.values import lin, log, split, texts


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("1,2,3", ["1", "2", "3"]),
        ("0.1", ["0.1"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("{a: 1, b: 2}", ["{a: 1, b: 2}"]),
        ("log:1e-3:1:4", ["0.001", "0.01", "0.1", "1.0"]),
        ("0,log:1e-2:1:3", ["0", "0.01", "0.1", "1.0"]),
        ("lin:0:0.5:6", ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        ("lin:8:2:3", ["8.0", "5.0", "2.0"]),
        ("log:8:128:5", ["8.0", "16.0", "32.0", "64.0", "128.0"]),
        ("C:/data,D:/data", ["C:/data", "D:/data"]),
    ],
)
def test_values_are_read_as_they_are_written(written: str, values: list[str]) -> None:
    assert texts(f"key={written}", written) == values


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "a value is missing"),
        ("1,,2", "a value is missing"),
        ("1,1", "1 is there twice"),
        ("log:1:2", "expected log:FIRST:LAST:COUNT"),
        ("log:1:x:3", "expected log:FIRST:LAST:COUNT"),
        ("lgo:1:2:3", "did you mean log:1:2:3"),
        ("log:0:1:3", "above 0"),
        ("log:-1:1:3", "above 0"),
        ("lin:0:1:0", "from 1 to 100,000"),
        ("lin:0:1:1000001", "from 1 to 100,000"),
        ("lin:0:1:1", "one value needs no range"),
        ("lin:1:1:3", "its ends are the same"),
        ("lin:0:inf:3", "finite"),
        ("lin:nan:1:3", "finite"),
    ],
)
def test_what_can_be_no_values_is_told(written: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        texts(f"key={written}", written)


@given(st.floats(1e-8, 1e8), st.floats(1e-8, 1e8), st.integers(2, 40))
def test_a_range_begins_and_ends_where_it_says_and_its_values_can_be_typed_again(
    first: float, last: float, count: int
) -> None:
    if first == last:
        return
    for values in (log(first, last, count), lin(first, last, count)):
        assert (values[0], values[-1], len(values)) == (first, last, count)
        assert all(float(f"{value:.6g}") == value for value in values[1:-1])


@given(st.floats(1e-4, 1e4), st.floats(1.5, 1e4), st.integers(3, 20))
def test_each_value_of_log_is_the_same_factor_from_the_one_before(first: float, factor: float, count: int) -> None:
    values = log(first, first * factor, count)
    steps = [math.log(after / before) for before, after in pairwise(values)]
    assert max(steps) - min(steps) < 2e-5


@given(st.lists(st.text("ab1. ", min_size=1, max_size=6), min_size=1, max_size=4))
def test_what_is_joined_by_commas_is_split_again(pieces: list[str]) -> None:
    assert split(",".join(pieces)) == [piece.strip() for piece in pieces]
