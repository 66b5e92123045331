from __future__ import annotations

from pathlib import Path

import pytest

from shoal.errors import RecipeError
from shoal.recipe import parse
from shoal.recipe.flat import flat, hyperparameters, read


def test_nested_keys_are_dotted_in_order() -> None:
    assert list(flat({"b": {"y": {"z": 1}, "x": [1, 2]}, "a": None}).items()) == [
        ("b.y.z", 1),
        ("b.x", [1, 2]),
        ("a", None),
    ]


def test_a_recipe_file_is_read_as_it_stands(tmp_path: Path) -> None:
    recipe = parse({"optimizer": {"name": "adamw", "lr": 1e-4}})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert read(tmp_path / "recipe.yaml") == flat(recipe.mapping())
    (tmp_path / "recipe.yaml").write_text("model:\n  name: one_of_mine\n  rank: 3\n")
    assert read(tmp_path / "recipe.yaml") == {"model.name": "one_of_mine", "model.rank": 3}
    assert read(tmp_path / "none.yaml") == {}
    (tmp_path / "recipe.yaml").write_text("- a list")
    assert read(tmp_path / "recipe.yaml") == {}
    (tmp_path / "recipe.yaml").write_text("a: [")
    with pytest.raises(RecipeError, match=r"recipe\.yaml, line"):
        read(tmp_path / "recipe.yaml")


def test_hyperparameters_leave_out_what_cannot_change_the_result() -> None:
    found = hyperparameters(parse({"optimizer": {"name": "adamw", "lr": 1e-4}, "seed": 3, "name": "mine"}))
    assert found["seed"] == 3
    assert found["optimizer.name"] == "adamw"
    assert found["optimizer.lr"] == 1e-4
    assert found["schedules.lr.name"] == "constant"
    assert "init.freeze" not in found
    assert not {
        "name",
        "device",
        "dataset.path",
        "dataset.workers",
        "checkpoint.keep",
        "log.tensorboard",
        "init.from",
    } & set(found)
