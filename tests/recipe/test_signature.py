"""Identity: what is the same experiment, what is another, and what is frozen for good."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.recipe import canonical, parse, signature
from shoal.recipe.fields import ALWAYS, NEVER, Float, Int, setting
from shoal.recipe.optimizer_parts import OptimizerPart, Sgd
from shoal.recipe.schema import Recipe
from shoal.recipe.tables import TABLES

from . import golden


def sign(data: dict[str, Any]) -> str:
    return signature(parse(data))


def test_a_signature_is_128_bits() -> None:
    assert len(sign({})) == 32
    assert int(sign({}), 16) < 2**128


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"optimizer": {"lr": 1e-1}}, {"optimizer": {"lr": 0.1}}),
        ({"optimizer": {"lr": 1}}, {"optimizer": {"lr": 1.0}}),
        ({"batch_size": 32.0}, {"batch_size": 32}),
        ({"optimizer": {"momentum": 0.9}}, {}),
        ({"optimizer": "sgd"}, {}),
        ({"schedules": {"lr": "constant"}}, {}),
        ({"schedules": {"lr": {"name": "constant", "warmup_steps": 0}}}, {"schedules": {}}),
        ({"budget": {"epochs": 10}}, {"budget": {}}),
        ({"budget": {"steps": None}}, {}),
        ({"evaluate": {"every": 1}}, {}),
        ({"task": {"class_weights": [1, 2]}}, {"task": {"class_weights": (1.0, 2.0)}}),
        ({"schedules": {"lr": {"name": "cosine", "final": -0.0}}}, {"schedules": {"lr": "cosine"}}),
    ],
)
def test_one_meaning_has_one_signature(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert sign(one) == sign(other)


def test_seeds_agree_however_they_are_written_and_stay_out() -> None:
    assert parse({"seed": 1}) == parse({"seed": 1.0})
    assert sign({"seed": 1}) == sign({"seed": 2})


@pytest.mark.parametrize(
    "data",
    [
        {"name": "other"},
        {"device": "cpu"},
        {"deterministic": True},
        {"dataset": {"name": "digits", "path": "elsewhere"}},
        {"dataset": {"workers": 4}},
        {"checkpoint": {"every": 3, "keep": 5}},
        {"log": {"every": 10}},
    ],
)
def test_what_is_not_meant_to_change_the_result_stays_out(data: dict[str, Any]) -> None:
    assert sign(data) == sign({})


@pytest.mark.parametrize(
    "data",
    [
        {"batch_size": 33},
        {"evaluate": {"every": 2}},
        {"best": {"metric": "valid.accuracy"}},
        {"early_stop": {"patience": 3}},
        {"dataset": {"drop_last": False}},
        {"dataset": {"valid": 0.2}},
        {"optimizer": {"momentum": 0.8}},
        {"optimizer": "adamw"},
        {"schedules": {"lr": "cosine"}},
        {"schedules": {"momentum": {"warmup_steps": 1}}},
        {"budget": {"epochs": 11}},
        {"budget": {"steps": 10}},
        {"model": {"norm": "group"}},
        {"task": {"class_weights": "balanced"}},
    ],
)
def test_what_changes_the_result_is_in(data: dict[str, Any]) -> None:
    assert sign(data) != sign({})


def test_once_an_epoch_is_not_every_step() -> None:
    steps = {"budget": {"steps": 10}}
    assert sign(steps | {"evaluate": {"every": 1}}) != sign(steps)


def test_digests_are_in() -> None:
    recipe = parse({})
    assert signature(recipe, {"dataset": "a"}) != signature(recipe, {"dataset": "b"})
    assert signature(recipe, {"dataset": "a"}) != signature(recipe)
    both = signature(recipe, {"dataset": "a", "model": "b"})
    assert both == signature(recipe, {"model": "b", "dataset": "a"})


def shuffled(data: Any, seed: int) -> Any:
    if not isinstance(data, dict):
        return data
    items = [*cast(dict[str, Any], data).items()]
    random.Random(seed).shuffle(items)
    return {key: shuffled(value, seed + 1) for key, value in items}


@given(st.sampled_from(sorted(golden.VARIATIONS)), st.integers())
def test_the_order_of_keys_is_irrelevant(name: str, seed: int) -> None:
    full = parse(golden.VARIATIONS[name]).mapping()
    assert sign(shuffled(full, seed)) == sign(golden.VARIATIONS[name])


@pytest.mark.parametrize("name", sorted(golden.VARIATIONS))
def test_the_full_recipe_has_the_signature_of_the_short_one(name: str) -> None:
    short = parse(golden.VARIATIONS[name])
    assert signature(parse(short.mapping())) == signature(short)


@pytest.fixture
def later() -> Iterator[type[OptimizerPart]]:
    """Sgd as a later version may have it: another default, and a new field."""

    class LaterSgd(Sgd):
        """Stochastic gradient descent."""

        momentum: Float = setting(0.95, "momentum", identity=0.9, ge=0, lt=1)
        warm_restarts: Int = setting(0, "a new field, whose identity value is the old behaviour", identity=0)

    table = TABLES["optimizer"]
    before, table["sgd"] = table["sgd"], LaterSgd
    yield LaterSgd
    table["sgd"] = before


def test_changing_a_default_keeps_old_signatures(later: type[OptimizerPart]) -> None:
    now = parse({"optimizer": {"name": "sgd", "momentum": 0.9}})
    assert isinstance(now.optimizer, later)
    assert signature(now) == sign_before({"momentum": 0.9})
    assert signature(parse({"optimizer": {"name": "sgd"}})) == sign_before({"momentum": 0.95})


def test_a_new_field_stays_out_until_it_is_used(later: type[OptimizerPart]) -> None:
    old = {"momentum": 0.8}
    assert sign({"optimizer": {"name": "sgd", **old}}) == sign_before(old)
    assert sign({"optimizer": {"name": "sgd", **old, "warm_restarts": 1}}) != sign_before(old)


def sign_before(keys: dict[str, Any]) -> str:
    return signature(Recipe(optimizer=Sgd(**keys)))


def test_the_canonical_form_is_plain_and_has_only_what_matters() -> None:
    form = canonical(parse({"seed": 3, "optimizer": {"momentum": 0.8}}), {"dataset": "d"})
    assert json.loads(json.dumps(form)) == form
    assert form["recipe"]["optimizer"] == {"name": "sgd", "lr": 0.1, "momentum": 0.8}
    assert form["recipe"]["budget"] == {"epochs": 10.0}
    assert not {"name", "seed", "checkpoint", "log", "device"} & set(form["recipe"])


EXTEND = "Run `python -m tests.recipe.golden`, which adds what is new; see there for what may never change."


def test_no_golden_signature_has_changed() -> None:
    found, kept = golden.signatures(), golden.frozen(golden.SIGNATURES)
    assert {name: found.get(name) for name in kept} == kept, "a change of the recipe moved the identity of old runs"
    assert set(found) == set(kept), EXTEND
    assert len(set(found.values())) == len(found)


def test_no_identity_value_has_changed() -> None:
    found, kept = golden.identity_values(), golden.frozen(golden.IDENTITY_VALUES)
    found = json.loads(json.dumps(found))
    assert {name: found.get(name, "is gone") for name in kept} == kept, "an identity value is frozen for good"
    assert set(found) == set(kept), EXTEND


def test_every_field_of_the_recipe_has_an_identity_value() -> None:
    values = golden.identity_values()
    assert values["seed"] == str(NEVER)
    assert values["batch_size"] == str(ALWAYS)
    assert values["optimizer.sgd.momentum"] == 0.9
    assert values["schedules.lr"] == {"name": "constant"}
