"""Train from Python, with names or with objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from shoal.api.run import Run
from shoal.assembly import Screen, conduct, from_python
from shoal.assembly.source import qualified_name
from shoal.errors import RecipeError
from shoal.recipe import Recipe, parse
from shoal.recipe.compose import apply, preset_mapping

NAMED = ("dataset", "model", "task", "optimizer")


def train(
    recipe: str | Recipe | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    /,
    *,
    dataset: Any = None,
    model: Any = None,
    task: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    runs: str | Path = "runs",
    config_dir: str | Path | None = None,
    again: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train one run, or continue it, or return it at once where it is finished.

    `recipe` is a preset's name, a Recipe or a mapping; without one, Shoal's defaults. `overrides` has dotted keys,
    `{"optimizer.lr": 0.05}`; `settings` are keys at the top, `seed=1, budget={"epochs": 5}`. Objects stand for names:

    - model: a class or function that returns an nn.Module; `input_shape` and `outputs` are filled in where it asks
    - dataset: (inputs, targets) as NumPy arrays or tensors, a torch Dataset or IterableDataset, or a dict of splits
    - loss: a function of (outputs, targets) that returns one value an example, or a scalar

    >>> run = train("digits_mlp", {"budget.steps": 40}, runs=folder, quiet=True)        # doctest: +SKIP
    >>> run.metrics["test.accuracy"]                                                    # doctest: +SKIP
    0.93

    The first Ctrl-C or SIGTERM saves and stops, and raises nothing: the run is returned with the status "stopped", and
    the same call continues it. A loop over seeds looks at that.

    Raises InputError for what cannot be trained, LiveRunError where another process trains it, TrainingError where
    the loss became non-finite.
    """
    parts, objects = from_python(dataset=dataset, model=model, task=task, loss=loss, optimizer=optimizer)
    folder = Path(config_dir) if config_dir is not None else None
    data = _base(recipe, folder)
    if loss is not None and task is None and "task" not in data:
        parts["task"] = {"name": "external", "source": qualified_name(loss, "loss")}
    changes = {**_of_objects(recipe, parts), **parts, **settings, **(overrides or {})}
    full = parse(apply(data, list(_flat(changes).items()), config_dir=folder))
    location = conduct(full, objects, runs=Path(runs), screen=Screen(quiet=quiet), again=again)
    return Run(location, objects)


def _base(recipe: str | Recipe | Mapping[str, Any] | None, config_dir: Path | None) -> dict[str, Any]:
    if recipe is None:
        return {}
    if isinstance(recipe, Recipe):
        return recipe.mapping()
    if isinstance(recipe, str):
        return preset_mapping(recipe, config_dir=config_dir)
    if not isinstance(recipe, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(f"expected a preset's name, a shoal.Recipe or a mapping of keys, found {recipe!r}.")
    return apply({}, list(_flat(recipe).items()), config_dir=config_dir)


def _of_objects(recipe: str | Recipe | Mapping[str, Any] | None, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a mapping that were written for what is passed beside it: it names nothing in its place."""
    flat = _flat(recipe) if isinstance(recipe, Mapping) else {}
    named = {key.removesuffix(".name") for key in flat}
    return {key: value for key, value in flat.items() if key.split(".")[0] in parts.keys() - named}


def _flat(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as overrides: a mapping for a section changes its keys; one with a name selects an entry first."""
    flat: dict[str, Any] = {}
    for key, value in changes.items():
        if isinstance(value, Mapping):
            section = cast(Mapping[str, Any], value)
            if key in NAMED and "name" in section:
                flat[key] = str(section["name"])
            named = key in NAMED
            flat.update({f"{key}.{inner}": item for inner, item in section.items() if not (named and inner == "name")})
        else:
            flat[key] = value
    return flat
