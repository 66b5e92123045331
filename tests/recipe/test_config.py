"""The config of a program: whatever it is written as, one meaning is one experiment."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import BaseModel

from shoal.errors import RecipeError
from shoal.recipe import yaml_text
from shoal.recipe.config import identity, plain, seed_of, signature


class Kind(Enum):
    ADAM = "adam"


@dataclass
class Optimizer:
    name: Kind = Kind.ADAM
    lr: float = 0.1


@dataclass
class Config:
    optimizer: Optimizer = field(default_factory=Optimizer)
    layers: tuple[int, ...] = (8, 8)
    data: Path = Path("data")


class Model(BaseModel):
    optimizer: dict[str, Any] = {"name": "adam", "lr": 0.1}
    layers: list[int] = [8, 8]
    data: Path = Path("data")


WRITTEN = {"optimizer": {"name": "adam", "lr": 0.1}, "layers": [8, 8], "data": "data"}
ALIKE: list[Any] = [
    WRITTEN,
    Config(),
    Model(),
    Namespace(optimizer=Optimizer(), layers=[8, 8], data="data"),
    OmegaConf.create(WRITTEN),
    {"layers": (8.0, np.int64(8)), "optimizer.lr": np.float64(0.1), "data": "data", "optimizer": {"name": "adam"}},
    {**WRITTEN, "name": "other", "seed": 3},
]


def signed(config: Any, program: str = "gan", **more: Any) -> str:
    return signature(identity(plain(config), program=program, **more))


@pytest.mark.parametrize("config", ALIKE, ids=lambda config: type(config).__name__)
def test_one_meaning_has_one_signature(config: Any) -> None:
    assert signed(config) == signed(WRITTEN) == "c13c9adee0db97f8bbb89f26a564bebc"


@pytest.mark.parametrize(
    "config",
    [
        {**WRITTEN, "data": "other"},
        {**WRITTEN, "layers": [8, True]},
        {**WRITTEN, "layers": [8]},
        {**WRITTEN, "layers": ["8", 8]},
        {**WRITTEN, "more": None},
        {**WRITTEN, "optimizer": {"name": "adam", "lr": 0.1 + 2e-17}},
    ],
)
def test_another_meaning_has_another(config: Any) -> None:
    assert signed(config) != signed(WRITTEN)


def test_program_and_source_are_in_the_identity() -> None:
    found = {signed(WRITTEN), signed(WRITTEN, "dcgan"), signed(WRITTEN, digests={"functions": "0"})}
    assert len(found) == 3
    assert all(len(each) == 32 for each in found)


def test_what_is_excluded_does_not_identify() -> None:
    other = {**WRITTEN, "data": "elsewhere", "log": {"every": 3, "level": "debug"}}
    assert signed(other, exclude=["data", "log"]) == signed(WRITTEN, exclude=["data"])
    assert signed(other, exclude=["data", "log.*"]) == signed(WRITTEN, exclude=["data"])
    assert signed(other, exclude=["data", "log.every"]) != signed(WRITTEN, exclude=["data"])


@pytest.mark.parametrize("exclude", [["dta"], ["optimizer.*.lr"], ["logs"], ["data", "dta"]])
def test_a_pattern_that_means_nothing_is_refused(exclude: list[str]) -> None:
    with pytest.raises(RecipeError, match=r"it matches no key of the config: .*There are: optimizer\.name"):
        signed(WRITTEN, exclude=exclude)
    with pytest.raises(RecipeError, match="did you mean 'data'"):
        signed(WRITTEN, exclude=["dta"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (3, "expected a mapping, a dataclass, .* found a int"),
        ({"lr": float("nan")}, "lr = nan: expected a finite number"),
        ({"model": {"make": len}}, r"model\.make is a builtin_function_or_method, which cannot be written down"),
        ({"x": np.zeros(3)}, "x is a ndarray"),
        ({"sizes": [1, {2}]}, r"sizes\[1\] is a set"),
        ({1: 2}, "the key 1 is no text. Write '1'"),
        ({"a": {"b": 1}, "a.b": 2}, r"a\.b is given twice"),
    ],
)
def test_what_cannot_be_written_down_is_named(config: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plain(config)


@pytest.mark.parametrize("seed", [-1, True, "3", 0.5, None, 2**63])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(RecipeError, match=r"seed = .*expected a whole number"):
        seed_of({"seed": seed})
    assert (seed_of({"seed": 3.0}), seed_of({})) == (3, 0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=4))
def test_what_is_recorded_has_the_signature_of_what_was_passed(config: dict[str, Any]) -> None:
    data = plain(config)
    assert signed(yaml_text.load(yaml_text.dump(data), "recipe.yaml") or {}) == signed(config)
    assert signed(dict(reversed(data.items()))) == signed(config)
