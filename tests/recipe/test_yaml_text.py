"""YAML text: what is a number in it, and what it refuses with its place."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from shoal.errors import RecipeError
from shoal.recipe import yaml_text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1.5e3", 1500.0), ("-2E+4", -2e4), (".5e1", 5.0), ("1e3x", "1e3x"), ("e3", "e3"), ("12", 12)],
)
def test_a_number_with_an_exponent_is_a_number(text: str, value: Any) -> None:
    assert yaml_text.load(text, "here") == value


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.from_regex(r"[-+0-9e._]+"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
@example({"\x85": "a\u2028b", "1e3": "1e-3"})
def test_plain_data_survive(data: Any) -> None:
    text = yaml_text.dump(data)
    assert yaml_text.load(text, "here") == data
    assert yaml.safe_load(text) == data  # and other readers of YAML agree


def test_what_is_not_finite_is_read_as_such() -> None:
    assert math.isnan(yaml_text.load(".nan", "here"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [", r"^here, line 2, column \d+: this is no plain YAML: "),
        ("a: 1\na: 2", "^here, line 2, column 1: .* the key a is given twice"),
        ("a: {b: 1, b: 2}", "the key b is given twice"),
        ("a: !!python/object/apply:os.system [ls]", "^here, line 1, column 4: .* could not determine a constructor"),
        ("a:\n\tb: 1", "^here, line 2, .* found character"),
        (b"\xff\xfe\x00", "^here: this is no plain YAML text"),
        ("a: " + "[" * 2_000, "^here: the values are nested too deeply"),
        ("9" * 5000, "^here: this is no plain YAML text"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        yaml_text.load(text, "here")


@given(st.text() | st.binary())
def test_nothing_but_a_recipe_error_is_raised(text: str | bytes) -> None:
    with contextlib.suppress(RecipeError):
        assert not callable(yaml_text.load(text, "here"))
