"""Measure a trained run again on a split: what `shoal test` does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shoal import datasets
from shoal.assembly.devices import choose
from shoal.assembly.objects import Objects
from shoal.assembly.purpose import build_task, evaluation_batch
from shoal.assembly.trained import normalisation_of, recipe_of, trained_model
from shoal.datasets import Data
from shoal.errors import DataError, StoreError
from shoal.recipe import Recipe, parse
from shoal.recipe.parts import DatasetPart
from shoal.store import RunFolder, record
from shoal.training.evaluation import as_row, evaluate


def test_run(
    folder: RunFolder,
    objects: Objects = Objects(),
    *,
    path: str | None = None,
    device: str = "auto",
    split: str = "test",
) -> dict[str, float]:
    """Return the metrics of a run's best weights (its last, where it kept none) on a split, named `test.accuracy`.

    `path` measures on other data: on their test split, or on all of them where they have no splits. Raises DataError
    where the data are not those of the training and no path says so.
    """
    facts = record.read(folder)
    known: dict[str, Any] = facts.get("data") or {}
    recipe = with_path(recipe_of(folder), path or known.get("path"))
    model = trained_model(folder, objects, normalised=False)
    _refuse_missing(folder, recipe, objects, facts, path)
    same = path is None and recipe.dataset.name != "text"  # a text may have been read with the tokens of another run
    own = objects if path is None else replace(objects, dataset=None)  # a path says that other data are meant
    data = _data(recipe, own, None if same else known.get("encoding"))
    recorded = known.get("digest")
    if path is None and recorded != data.digest:
        advice = "To test on other data, say so: dataset.path=PATH."
        if objects.dataset is not None:
            advice = "Pass those of the training; for other data, run.model() predicts."
        raise DataError(
            f"the data are not those that {folder.label} was trained on (content {data.digest[:12]}, then "
            f"{str(recorded)[:12]}). {advice}"
        )
    measured = split
    if path is not None and split == "test" and split not in data.splits:  # other data without splits: all of them
        data = _data(_uncut(recipe), own, None if same else known.get("encoding"))
        measured = "train" if set(data.splits) == {"train"} else split
    if measured not in data.splits:
        raise DataError(
            f"{recipe.dataset.name} has no {split} split; it has: {', '.join(data.splits)}. Say which: "
            f"split={list(data.splits)[-1]}."
        )
    where = choose(device)
    task = build_task(recipe, data, objects, where)
    batches = datasets.batches(
        data.splits[measured],
        batch_size=evaluation_batch(recipe.batch_size, data),
        seed=recipe.seed,
        drop_last=False,
        device=where,
        normalisation=normalisation_of(folder),
        training=False,
        pad=False,
    )
    return as_row(split, evaluate(model.to(where), task, batches, seed=recipe.seed))


def _refuse_missing(
    folder: RunFolder, recipe: Recipe, objects: Objects, facts: dict[str, Any], path: str | None
) -> None:
    """Raise StoreError where the training had data or a loss from Python that are not passed again."""
    had_loss = "loss" in ((facts.get("identity") or {}).get("digests") or {})
    had_data = recipe.dataset.name in ("arrays", "map_style", "stream", "text") and not (facts.get("data") or {}).get(
        "path"
    )
    missing = [
        *(["dataset=DATA"] if had_data and objects.dataset is None and path is None else []),
        *(["loss=FUNCTION"] if had_loss and objects.loss is None else []),
    ]
    if missing:
        what = " and ".join(item.partition("=")[0] for item in missing)
        raise StoreError(
            f"{folder.label} was trained with a {what} from Python, which its folder does not hold. "
            f"Pass it again: shoal.load({str(folder.path)!r}, {', '.join(missing)}).test()."
        )


def with_path(recipe: Recipe, path: str | None) -> Recipe:
    """Return a recipe with other data; with None as it is."""
    if path is None:
        return recipe
    mapping: dict[str, Any] = recipe.mapping()
    mapping["dataset"]["path"] = path
    return parse(mapping)


def _uncut(recipe: Recipe) -> Recipe:
    """The recipe with nothing cut off for valid, and blocks of a text that do not overlap."""
    mapping: dict[str, Any] = recipe.mapping()
    mapping["dataset"] |= {key: value for key, value in (("valid", 0), ("stride", None)) if key in mapping["dataset"]}
    return parse(mapping)


def _data(recipe: Recipe, objects: Objects, encoding: dict[str, Any] | None) -> Data:
    """The data; others than those of the training are read as those were, where they have an encoding."""
    part = recipe.dataset
    assert isinstance(part, DatasetPart)
    if objects.dataset is not None:
        return datasets.from_objects(objects.dataset, part)
    return datasets.build(part, task=recipe.task.name, encoding=encoding)
