"""Measure a trained run again on a split: what `shoal test` does."""

from __future__ import annotations

from typing import Any

from shoal import datasets
from shoal.assembly.build import EVALUATION_BATCH, build_task
from shoal.assembly.devices import choose
from shoal.assembly.objects import Objects
from shoal.assembly.trained import normalisation_of, recipe_of, trained_model
from shoal.datasets import Data
from shoal.errors import DataError
from shoal.recipe import Recipe, parse
from shoal.recipe.parts import DatasetPart
from shoal.store import RunFolder, record
from shoal.training.evaluation import as_row, evaluate


def test_run(
    folder: RunFolder, objects: Objects = Objects(), *, path: str | None = None, device: str = "auto", split: str = "test"
) -> dict[str, float]:
    """Return the metrics of a run's best weights (its last, where it kept none) on a split, named `test.accuracy`.

    `path` measures on other data. Raises DataError where the data are not those of the training and no path says so.
    """
    recipe = _with_path(recipe_of(folder), path or record.read(folder).get("data", {}).get("path"))
    data = _data(recipe, objects)
    recorded = record.read(folder).get("data", {}).get("digest")
    if path is None and recorded != data.digest:
        raise DataError(
            f"the data are not those that {folder.label} was trained on (content {data.digest[:12]}, then {str(recorded)[:12]}). "
            "To test on other data, say so: dataset.path=PATH."
        )
    if split not in data.splits:
        raise DataError(f"{recipe.dataset.name} has no {split} split; it has: {', '.join(data.splits)}.")
    where = choose(device)
    task = build_task(recipe, data, objects, where)
    batches = datasets.batches(
        data.splits[split],
        batch_size=max(recipe.batch_size, EVALUATION_BATCH),
        seed=recipe.seed,
        drop_last=False,
        device=where,
        normalisation=normalisation_of(folder),
        training=False,
        pad=False,
    )
    model = trained_model(folder, objects, normalised=False).to(where)
    return as_row(split, evaluate(model, task, batches, seed=recipe.seed))


def _with_path(recipe: Recipe, path: str | None) -> Recipe:
    if path is None:
        return recipe
    mapping: dict[str, Any] = recipe.mapping()
    mapping["dataset"]["path"] = path
    return parse(mapping)


def _data(recipe: Recipe, objects: Objects) -> Data:
    part = recipe.dataset
    assert isinstance(part, DatasetPart)
    return datasets.build(part) if objects.dataset is None else datasets.from_objects(objects.dataset, part)
