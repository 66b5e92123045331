"""From the arrays of each split to `Data`: converted, checked, identified, cut and measured, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from shoal.datasets.checks import check_agreement, check_finite, count_classes
from shoal.datasets.constants import constants
from shoal.datasets.convert import examples, zeros_and_ones
from shoal.datasets.cut import cut, note, refuse_size, valid_size
from shoal.datasets.digest import SPLITS, digest
from shoal.datasets.examples import Data, Examples
from shoal.errors import DataError, unknown
from shoal.recipe.parts import DatasetPart

FAR = 30.0
"""Real targets with a mean or a deviation beyond this are far from where a fresh network begins."""
MOST = 100_000
"""Targets that are looked at for that."""


def prepare(
    pairs: Mapping[str, tuple[Any, Any]],
    part: DatasetPart,
    *,
    notes: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    encoding: Mapping[str, Any] | None = None,
) -> Data:
    """Return the data of splits given as (inputs, targets); raises DataError for what cannot be trained on.

    `labels` are the names of the classes and `encoding` says how a raw input is read, where these are known.
    """
    check_names(pairs)
    splits = {name: examples(name, *pairs[name]) for name in SPLITS if name in pairs}
    check_agreement(splits)
    for name, found in splits.items():
        check_finite(name, found)
    classes = _classes(splits)
    several = _multilabel(splits)
    identity = digest(splits)
    splits, said = _with_valid(splits, part)
    train = splits["train"]
    return Data(
        splits=splits,
        input_shape=tuple(train.inputs.shape[1:]),
        target_shape=tuple(train.targets.shape[1:]),
        classes=classes,
        class_counts=None if classes is None else _counts(train, classes),
        digest=identity,
        normalisation=constants(train) if part.normalise else None,
        notes=(*notes, *said, *_scale(train, several)),
        multilabel=several,
        label_shares=None if several is False else _shares(train),
        labels=None if labels is None else tuple(labels),
        encoding=encoding,
    )


def check_names(splits: Mapping[str, Any]) -> None:
    """Raise DataError for a split that is not train, valid or test, and where there is no train."""
    for name in splits:
        if name not in SPLITS:
            raise DataError(unknown("split", str(name), SPLITS))
    if "train" not in splits:
        raise DataError(f"there is no train split. Splits given: {', '.join(splits) or 'none'}.")


def _classes(splits: Mapping[str, Examples]) -> int | None:
    if splits["train"].targets.is_floating_point():
        return None
    labels = {name: found.targets.to(torch.int64) for name, found in splits.items()}
    return count_classes(labels.pop("train"), labels)


def _multilabel(splits: Mapping[str, Examples]) -> bool | None:
    """Whether targets mean several labels an example; None where they may."""
    if splits["train"].multilabel:
        return True
    may = all(found.targets.ndim == 2 and zeros_and_ones(found.targets) for found in splits.values())
    return None if may else False


def _scale(train: Examples, several: bool | None) -> list[str]:
    """A sentence on real targets that are far from where a fresh network begins: at 0, with a deviation near 1."""
    if several or not train.targets.is_floating_point():
        return []
    some = torch.linspace(0, len(train) - 1, min(len(train), MOST)).long()
    targets = train.targets[some if train.rows is None else train.rows[some]].to(torch.float64)
    deviation, mean = float(targets.std(correction=0)), float(targets.mean())
    if max(abs(mean), deviation) <= FAR:
        return []
    return [
        f"targets: mean {mean:.4g}, deviation {deviation:.4g} in train, and nothing scales them: networks learn such "
        "values slowly. Divide them, or give (target - mean) / deviation"
    ]


def _shares(train: Examples) -> tuple[float, ...]:
    targets = train.targets if train.rows is None else train.targets[train.rows]
    return tuple(cast(list[float], targets.cpu().to(torch.float64).mean(0).tolist()))


def _with_valid(splits: dict[str, Examples], part: DatasetPart) -> tuple[dict[str, Examples], list[str]]:
    if "valid" in splits:
        refuse_size(part.valid)
        return splits, []
    train = splits["train"]
    size = valid_size(len(train), part.valid)
    if not size:
        return splits, [note(size)]
    kept, left = cut(len(train), size)
    cut_splits = {
        "train": replace(train, rows=kept),
        "valid": replace(train, rows=left),
    }
    return {**cut_splits, **{name: splits[name] for name in splits if name != "train"}}, [note(size)]


def _counts(train: Examples, classes: int) -> tuple[int, ...]:
    labels = train.targets if train.rows is None else train.targets[train.rows]
    counts = torch.bincount(labels.cpu().to(torch.int64), minlength=classes)
    return tuple(cast(list[int], counts.tolist()))
