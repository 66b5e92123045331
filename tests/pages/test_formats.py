from __future__ import annotations

import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.pages import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.98611, "0.9861"),
        (0.0, "0.0000"),
        (1.2e-05, "1.2e-05"),
        (-0.00012345, "-0.000123"),
        (0.001, "0.0010"),
        (9.99996, "10.00"),
        (123.456, "123.5"),
        (12345.6, "12,346"),
        (1.5e9, "1.5e+09"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (12570, "12,570"),
        (None, "-"),
        ("\x1b[1m", "\\x1b[1m"),
        (True, "True"),
    ],
)
def test_numbers_have_the_digits_that_matter(value: object, shown: str) -> None:
    assert formats.number(value) == shown


@given(st.floats() | st.integers())
def test_every_number_has_a_form(value: float) -> None:
    assert formats.number(value)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0.00 s"),
        (59.4, "59 s"),
        (59.6, "1 m 00 s"),
        (3599.6, "1 h 00 m"),
        (86399.9, "1 d 00 h"),
        (1e6, "11 d 13 h"),
        (math.nan, "-"),
    ],
)
def test_durations_have_two_units(seconds: float, shown: str) -> None:
    assert formats.duration(seconds) == shown


def test_moments_are_local_and_damaged_ones_are_shown() -> None:
    assert formats.when("2026-01-02T03:04:05Z")[:7] in ("2026-01", "2025-12")
    assert formats.when(None) == "-"
    assert formats.when("\x1b") == "\\x1b"
    now = datetime.fromisoformat("2026-01-10T00:00:00Z")
    assert formats.ago("2026-01-01T00:00:00Z", now) == "9 d ago"
    assert formats.ago("2026-01-09T23:59:30Z", now) == "now"
    assert formats.ago("2027-01-01T00:00:00Z", now) == "now"
    assert formats.ago("soon", now) == "soon"
    assert formats.ago(None, now) == "-"


def test_nothing_that_acts_on_a_terminal_is_left() -> None:
    assert formats.clean("a\x1b]0;title\x07b\x9b\r\n\t\u202eevil\ud800") == (
        r"a\x1b]0;title\x07b\x9b\x0d\x0a\x09\u202eevil\ud800"
    )
    assert formats.clean("two\nlines", keep="\n") == "two\nlines"
    assert formats.clean("né 漢字 [red]") == "né 漢字 [red]"


@given(st.text(st.characters()))
def test_cleaned_text_can_be_printed(text: str) -> None:
    shown = formats.clean(text)
    shown.encode()
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
