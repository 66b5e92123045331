from __future__ import annotations

import json

import pytest

from shoal.recipe import parse
from shoal.recipe.compose import apply, compose
from shoal.recipe.said import differences


def test_a_recipe_of_defaults_says_only_what_it_trains() -> None:
    assert {row["key"] for row in differences(parse({}))} == {
        f"{part}.name" for part in ("dataset", "model", "task", "optimizer")
    }


@pytest.mark.parametrize(
    ("preset", "words"),
    [("digits", []), ("mnist_cnn", ["seed=3", "optimizer=sgd", "schedules.lr.warmup_steps=2"]), ("digits_mlp", [])],
)
def test_what_is_said_makes_the_same_recipe_again(preset: str, words: list[str]) -> None:
    recipe = compose(preset, words)
    rows = json.loads(json.dumps(differences(recipe)))
    names = sorted(rows, key=lambda row: not row["key"].endswith(".name"))  # an entry first, then its keys
    assert parse(apply({}, [(row["key"], row["value"]) for row in names])) == recipe


def test_every_row_differs_from_its_default_or_names_a_part() -> None:
    for row in differences(compose("digits", ["budget.steps=20", "model=mlp"])):
        assert row["value"] != row["default"] or row["key"].endswith(".name")
