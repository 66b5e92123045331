"""Values and types in words."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.recipe.fields import Float, Int
from shoal.recipe.words import in_words, shown


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "whole number"),
        (Float, "number"),
        (bool, "true or false"),
        (Float | None, "number or null"),
        (Literal["none", "batch"], "one of: none, batch"),
        (Literal["fp32"], "fp32"),
        (tuple[Int, ...], "list of whole numbers"),
        (tuple[str, ...], "list of text"),
        (tuple[Float, ...] | Literal["balanced"] | None, "list of numbers, balanced or null"),
    ],
)
def test_a_type_reads_plainly(annotation: Any, words: str) -> None:
    assert in_words(annotation) == words


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


LONG = {
    "text": "x" * 10_000,
    "list": list(range(10_000)),
    "nested": nested(10_000),
    "large": 10**4000,
    "huge": 10**5000,
    "mapping": {"a": nested(9)},
    "keys": {"x" * 10_000: 1, **{str(number): number for number in range(10_000)}},
}


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_a_value_is_cut_where_it_is_long_or_deep(value: Any) -> None:
    assert len(shown(value)) < 200


@given(st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=7))
def test_a_short_value_is_shown_whole(value: Any) -> None:
    assert shown(value) == (json.dumps(value) if value is None or isinstance(value, bool) else repr(value))
