"""What is said where the same words mean another run, because a default has changed since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run

from shoal.assembly.defaults import defaults_since
from shoal.assembly.explain import Known
from shoal.recipe import Recipe, canonical, parse
from shoal.recipe.said import differences

DIGESTS = {"dataset": "d"}


def trained(
    runs: Path, recipe: Recipe, *, name: str = "old", changes: dict[str, Any] | None = None, **facts: Any
) -> str:
    """A run of a recipe whose defaults were others: `changes` are what it had of the canonical form, by part."""
    identity = canonical(recipe, facts.pop("digests", DIGESTS))
    values = recipe.mapping()
    for key, value in (changes or {}).items():
        part, _, last = key.partition(".")
        for tree in (identity["recipe"], values):
            (tree[part] if last else tree)[last or part] = value
    folder = make_run(runs, name, of=name, identity=identity, said=differences(recipe), **facts)
    folder.recipe.write_text(parse(values).to_yaml())
    return folder.label


def test_the_newest_run_of_the_same_words_is_told_with_each_default(tmp_path: Path) -> None:
    recipe = parse({"budget": {"steps": 5}})
    trained(tmp_path, recipe, name="older", started="2026-01-01", changes={"batch_size": 8})
    label = trained(tmp_path, recipe, started="2026-01-02", changes={"batch_size": 16, "optimizer.momentum": 0.5})
    said = defaults_since(Known(tmp_path), recipe, canonical(recipe, DIGESTS))
    assert said == (
        f"batch_size: the default was 16 when {label} was trained, and is 32 now; optimizer.momentum: the default was "
        f"0.5 when {label} was trained, and is 0.9 now: this is another run."
    )


@pytest.mark.parametrize(
    ("then", "facts"),
    [
        ({"budget": {"steps": 6}}, {"changes": {"batch_size": 8}}),  # it was asked for in other words
        ({"budget": {"steps": 5}, "seed": 1}, {"changes": {"batch_size": 8}, "seed": 1}),
        ({"budget": {"steps": 5}}, {}),  # nothing has changed
        (
            {"budget": {"steps": 5}},
            {"changes": {"batch_size": 8}, "digests": {"dataset": "e"}},
        ),  # other data were named
    ],
)
def test_nothing_is_said_of_a_run_that_was_meant_to_be_another(
    then: dict[str, Any], facts: dict[str, Any], tmp_path: Path
) -> None:
    trained(tmp_path, parse(then), **facts)
    recipe = parse({"budget": {"steps": 5}})
    assert defaults_since(Known(tmp_path), recipe, canonical(recipe, DIGESTS)) is None
    (tmp_path / "broken-000000000000" / "seed-0").mkdir(parents=True)
    (tmp_path / "broken-000000000000" / "seed-0" / "run.json").write_text("{")
    assert defaults_since(Known(tmp_path), recipe, canonical(recipe, DIGESTS)) is None


def test_a_part_that_is_another_by_default_is_told_by_its_name_alone(tmp_path: Path) -> None:
    recipe = parse({"budget": {"steps": 5}})
    before = parse({"budget": {"steps": 5}, "model": "mlp"})
    folder = make_run(tmp_path, identity=canonical(before, DIGESTS), said=differences(recipe))
    folder.recipe.write_text(before.to_yaml())
    said = defaults_since(Known(tmp_path), recipe, canonical(recipe, DIGESTS))
    assert said is not None
    assert said.startswith(f"model.name: the default was 'mlp' when {folder.label} was trained, and is 'convnet' now")
    assert "width" not in said
