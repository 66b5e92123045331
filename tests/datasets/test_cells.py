from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from shoal.datasets.cells import first_word, labels_in, missing, numbers, positions, share_of_numbers, word
from shoal.errors import DataError


def column(values: list[object], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    half = len(values) // 2
    found = pa.array(values, kind)
    return pa.chunked_array([found[:half], found[half:]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.float32(), "number"),
        (pa.decimal128(5, 2), "number"),
        (pa.uint8(), "integer"),
        (pa.bool_(), "boolean"),
        (pa.large_string(), "text"),
        (pa.dictionary(pa.int8(), pa.string()), "category"),
        (pa.timestamp("ns", "UTC"), "date"),
        (pa.null(), "nothing"),
        (pa.duration("s"), "duration[s]"),
    ],
)
def test_types_have_a_word(kind: pa.DataType, expected: str) -> None:
    assert word(kind) == expected


def test_nan_is_missing() -> None:
    assert missing(column([1.0, None, float("nan")])).tolist() == [False, True, True]
    assert labels_in(column([2.0, None, float("nan"), 1.0])) == ["1", "2"]


def test_numbers_of_every_type() -> None:
    np.testing.assert_array_equal(numbers("x", column([True, False, None]), "t"), [1, 0, np.nan])
    np.testing.assert_array_equal(numbers("x", column([" 1.5", "2"]), "t"), [1.5, 2])
    noon = pa.array([43_200, None], pa.timestamp("s"))
    np.testing.assert_array_equal(numbers("x", pa.chunked_array([noon]), "t"), [0.5, np.nan])
    with pytest.raises(DataError, match=r"t: 'x' holds text, expected numbers: row 1 has 'two' \(rows count from 0\)"):
        numbers("x", column(["1", "two"]), "t")


def test_labels_have_an_order_and_a_place() -> None:
    assert labels_in(column([10, 9, 10])) == ["9", "10"]
    assert labels_in(column([True, False])) == ["false", "true"]
    assert labels_in(column([" b", "a", "b", None])) == ["a", "b"]
    assert positions(column(["b ", None, "c"]), ["a", "b"]).tolist() == [1, -1, -1]
    assert positions(column(["x", "y", "x"]).dictionary_encode(), ["x", "y"]).tolist() == [0, 1, 0]


def test_words_among_numbers_are_found() -> None:
    assert share_of_numbers(column(["1", "2.5", None, "x"])) == 2 / 3
    assert first_word(column(["1", None, "x", "y"])) == (2, "x")
    assert first_word(column(["1", "2"])) is None
