"""The rows of `shoal schema`."""

from __future__ import annotations

import json

from shoal.recipe.describe import entries, keys
from shoal.recipe.parse import parse
from shoal.recipe.schedule_parts import SchedulePart
from shoal.recipe.tables import TABLES


def test_rows_are_plain_data_with_the_same_columns() -> None:
    rows = keys()
    assert json.loads(json.dumps(rows)) == rows
    columns = {"key", "type", "required", "default", "bounds", "unit", "identity", "stackable", "meaning"}
    assert all(set(row) - {"entry"} == columns for row in rows)


def test_types_read_plainly() -> None:
    types = {(row["key"], row.get("entry")): row["type"] for row in keys()}
    assert types["seed", None] == "whole number"
    assert types["budget.epochs", None] == "number or null"
    assert types["optimizer.name", None].startswith("one of: adadelta, adafactor, ")
    assert types["model.norm", "mlp"] == "one of: none, batch, layer"
    assert types["task.class_weights", "classification"] == "list of numbers, balanced or null"
    assert types["dataset.drop_last", "digits"] == "true or false"
    assert not any("[" in text or "typing" in text for text in types.values())


def test_every_key_of_a_recipe_is_described_once() -> None:
    def paths(data: object, prefix: str = "") -> set[str]:
        if not isinstance(data, dict):
            return {prefix}
        return set().union(*(paths(value, f"{prefix}.{key}" if prefix else key) for key, value in data.items()))

    described = [(row["key"], row.get("entry")) for row in keys()]
    assert len(described) == len(set(described))
    covered = {key for key, _ in described}
    covered |= {f"schedules.{name}.{key}" for name in ("momentum", "weight_decay") for key in SchedulePart.model_fields}
    assert paths(parse({}).mapping()) <= covered


def test_marks_bounds_and_defaults_are_shown() -> None:
    rows = {(row["key"], row.get("entry")): row for row in keys()}
    lr = rows["optimizer.lr", "sgd"]
    assert (lr["bounds"], lr["default"], lr["stackable"], lr["identity"]) == ({"gt": 0}, 0.1, True, True)
    assert not rows["dataset.path", "idx"]["identity"]
    assert rows["batch_size", None]["unit"] == "examples"


def test_entries_are_those_of_the_tables() -> None:
    assert {"constant", "cosine"} < set(entries()["schedule"]) == set(TABLES["schedule"])
    assert set(entries()) == set(TABLES)
