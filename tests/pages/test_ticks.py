from __future__ import annotations

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from shoal.pages.ticks import label, linear, logarithmic

REAL = st.floats(-1e300, 1e300, allow_nan=False)
POSITIVE = st.floats(1e-300, 1e300, allow_nan=False)


@given(REAL, REAL, st.integers(2, 8))
def test_linear_marks_lie_within_and_are_few(one: float, other: float, most: int) -> None:
    low, high = min(one, other), max(one, other)
    span = high - low
    assume(span == 0 or span > 1e-9 * max(abs(low), abs(high)))
    marks = linear(low, high, most=most)
    assert 1 <= len(marks) <= most + 1
    assert all(low - 1e-6 * span <= mark <= high + 1e-6 * span for mark in marks)
    assert marks == sorted(marks)


@given(POSITIVE, POSITIVE, st.integers(4, 8))
def test_logarithmic_marks_lie_within_and_are_positive(one: float, other: float, most: int) -> None:
    low, high = min(one, other), max(one, other)
    assume(high > low * 1.01)
    marks = logarithmic(low, high, most=most)
    assert marks
    assert len(marks) <= most + 2
    assert all(low * 0.99 <= mark <= high * 1.01 for mark in marks)


@given(REAL)
def test_a_label_is_short_and_says_the_number(value: float) -> None:
    text = label(value)
    assert math.isclose(float(text.replace(",", "")), value, rel_tol=0.01, abs_tol=1e-300)


def test_labels_read_plainly() -> None:
    assert [label(mark) for mark in linear(0, 1200)] == ["0", "250", "500", "750", "1,000"]
    assert [label(mark) for mark in logarithmic(1e-5, 1)] == ["1e-5", "0.001", "0.1"]
