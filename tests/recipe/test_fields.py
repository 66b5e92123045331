"""Numbers, texts and flags: what agrees, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shoal.recipe.fields import ALWAYS, NEVER, WHOLE, Flag, Float, Int, Settings, Text, marks, setting

HUGE = pytest.param(10**5000, id="huge")


class Example(Settings):
    whole: Int = setting(1, "a whole number", identity=1, unit="steps", stackable=True, ge=-5)
    real: Float = setting(0.5, "a number", identity=0.5)
    flag: Flag = setting(False, "a flag", identity=False)
    text: Text = setting("a", "a text", identity=NEVER)


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3), Fraction(3)])
def test_one_whole_number_has_many_spellings(value: Any) -> None:
    whole = Example(whole=value).whole
    assert whole == 3
    assert type(whole) is int


@pytest.mark.parametrize("value", [True, np.True_, "3", 2.5, math.nan, math.inf, None, [3], 2**63, -(2**63) - 1, HUGE])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Example(whole=value)


@pytest.mark.parametrize("value", [1, 1.0, np.float64(1), np.int8(1)])
def test_one_number_has_many_spellings(value: Any) -> None:
    real = Example(real=value).real
    assert real == 1
    assert type(real) is float


@pytest.mark.parametrize("value", [False, "0.1", math.nan, -math.inf, None, 10**400, 1j])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Example(real=value)


def test_minus_zero_is_zero() -> None:
    assert math.copysign(1, Example(real=-0.0).real) == 1


@pytest.mark.parametrize("keys", [{"flag": 1}, {"flag": "yes"}, {"text": 3}, {"unknown": 1}])
def test_nothing_is_coerced_and_nothing_ignored(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Example(**keys)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().whole = 2  # type: ignore[misc]


def test_the_marks_of_a_field_can_be_read_back() -> None:
    known = marks(Example.model_fields["whole"])
    assert (known.meaning, known.unit, known.identity, known.stackable) == ("a whole number", "steps", 1, True)
    assert marks(Example.model_fields["text"]).identity is NEVER
    assert repr(ALWAYS) == "ALWAYS"


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_survive(value: int) -> None:
    assert Example.model_validate({"whole": max(value, -5)}).whole == max(value, -5)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive(value: float) -> None:
    assert Example(real=value).real == value


class Choice(Settings):
    channels: Annotated[Literal[1, 3], WHOLE] = setting(3, "a choice", identity=3)


@pytest.mark.parametrize("value", [1, 1.0, np.int8(1)])
def test_a_choice_among_whole_numbers_takes_their_spellings(value: Any) -> None:
    assert type(Choice(channels=value).channels) is int


@pytest.mark.parametrize("value", [True, 2, "1", 1.5, None])
def test_a_choice_among_whole_numbers_takes_nothing_else(value: Any) -> None:
    with pytest.raises(ValidationError):
        Choice(channels=value)
