"""Measure a trained run again on a split: what `shoal test` does.

As training measured it: the same batches, precision, layout in memory and number of threads, so that under the same
device and version of torch the numbers are those that were recorded, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from shoal import datasets
from shoal.assembly.devices import choose, determinism
from shoal.assembly.layout import laid_out
from shoal.assembly.left_out import LeftOut
from shoal.assembly.objects import Objects
from shoal.assembly.purpose import build_task, evaluation_batch
from shoal.assembly.trained import network, normalisation_of, recipe_of
from shoal.assembly.weights import Kept, kept
from shoal.datasets import Data
from shoal.errors import DataError, InputError, StoreError, unknown
from shoal.recipe import Recipe, parse
from shoal.recipe.parts import DatasetPart, skips_broken
from shoal.store import RunFolder, record
from shoal.training.evaluation import as_row, evaluate
from shoal.training.plan import threads_kept
from shoal.training.precision import Precision, as_float32, autocasting, check_precision, matmul_precision
from shoal.training.seams import AVERAGED, Weights


@dataclass(frozen=True)
class Tested:
    """Metrics by name, and which weights (raw, average, best) were measured under which name of the split."""

    metrics: dict[str, float]
    weights: dict[str, Weights]
    notes: tuple[str, ...] = ()
    """Sentences for the screen: what of the data could not be measured."""


def test_run(
    folder: RunFolder,
    objects: Objects = Objects(),
    *,
    path: str | None = None,
    device: str = "auto",
    split: str = "test",
    weights: str | None = None,
    precision: str | None = None,
) -> Tested:
    """Return the metrics of a run on a split.

    `test.accuracy` is of the best weights where the run kept them, else of the last; where there is an average then,
    `test_average.accuracy` is of it. `weights` chooses one of raw, average, best. `path` measures on other data: on
    their test split, or on all of them where they have no splits. `precision` is that of the training where it is None.

    Raises DataError where the data are not those of the training and no path says so, InputError for weights that the
    run does not have, RecipeError for a precision that the device lacks.
    """
    facts = record.read(folder)
    recipe = with_path(recipe_of(folder), path or _known(facts).get("path"))
    model = network(folder, objects)
    trained = kept(folder)
    kinds = _measured(trained, split, weights)
    _refuse_missing(folder, recipe, objects, facts, path)
    own = objects if path is None else replace(objects, dataset=None)  # a path says that other data are meant
    data, measured = _split(folder, recipe, own, facts, split=split, other=path is not None)
    where = choose(device)
    computed = _precision(precision or recipe.precision)
    check_precision(computed, where)
    task = build_task(recipe, data, objects, where)
    left_out = LeftOut()
    batches = datasets.batches(
        data.splits[measured],
        batch_size=evaluation_batch(recipe.batch_size, data),
        seed=recipe.seed,
        drop_last=False,
        device=where,
        normalisation=normalisation_of(folder),
        training=False,
        pad=False,
        left_out=left_out.of(measured) if skips_broken(recipe.dataset) else None,
        classes=data.classes,
    )
    plan: dict[str, Any] = facts.get("plan") or {}
    model = laid_out(model.to(where), channels_last=bool(plan.get("channels_last"))).eval()

    def forward(inputs: Any) -> Tensor:
        with autocasting(computed, where):
            outputs = model(inputs)
        return as_float32(outputs)

    metrics: dict[str, float] = {}
    with matmul_precision(computed), determinism(recipe.deterministic), threads_kept():
        _take_threads(plan, where)
        for name, kind in kinds.items():
            trained.put_into(model, kind)
            metrics |= as_row(name, evaluate(forward, task, batches, seed=recipe.seed))
    return Tested(metrics, kinds, tuple(left_out.news()))


def _split(
    folder: RunFolder, recipe: Recipe, objects: Objects, facts: Mapping[str, Any], *, split: str, other: bool
) -> tuple[Data, str]:
    """Return the data, those of the training or `other` ones, and which of its splits is to be measured."""
    known = _known(facts)
    same = not other and recipe.dataset.name != "text"  # a text may have been read with the tokens of another run
    encoding = None if same else known.get("encoding")
    data = _data(recipe, objects, encoding)
    if not other and known.get("digest") != data.digest:
        advice = "To test on other data, say so: dataset.path=PATH."
        if objects.dataset is not None:
            advice = "Pass those of the training; for other data, run.model() predicts."
        raise DataError(
            f"the data are not those that {folder.label} was trained on (content {data.digest[:12]}, then "
            f"{str(known.get('digest'))[:12]}). {advice}"
        )
    measured = split
    if other and split == "test" and split not in data.splits:  # other data without splits: all of them
        data = _data(_uncut(recipe), objects, encoding)
        measured = "train" if set(data.splits) == {"train"} else split
    if measured not in data.splits:
        raise DataError(
            f"{recipe.dataset.name} has no {split} split; it has: {', '.join(data.splits)}. Say which: "
            f"split={list(data.splits)[-1]}."
        )
    return data, measured


def _known(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the record says of the data."""
    known: Mapping[str, Any] = facts.get("data") or {}
    return known


def _measured(trained: Kept, split: str, wanted: str | None) -> dict[str, Weights]:
    """The weights to measure, by the name that the split has for them."""
    if wanted is None and trained.counting == "average":
        return {split: "raw", f"{split}{AVERAGED}": "average"}
    kind, _ = trained.chosen(wanted)
    return {f"{split}{AVERAGED}" if kind == "average" else split: kind}


def _precision(text: str) -> Precision:
    known: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16")
    for precision in known:
        if precision == text:
            return precision
    raise InputError(f"precision = {text}: {unknown('precision', text, known)}")


def _take_threads(plan: Mapping[str, Any], device: torch.device) -> None:
    """Compute with the threads of a plan, on which last bits depend."""
    planned = plan.get("threads")
    if device.type == "cpu" and isinstance(planned, int) and planned not in (0, torch.get_num_threads()):
        torch.set_num_threads(planned)


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
