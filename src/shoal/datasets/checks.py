"""Checks of content that are made before anything is trained: no NaN, no infinity, no label out of range."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from shoal.datasets.chunks import as_numpy, chunks
from shoal.datasets.examples import Examples
from shoal.errors import DataError

MOST_CLASSES = 1_000_000
"""More than these are not class labels but, say, identifiers or prices."""


def check_finite(split: str, found: Examples) -> None:
    """Raise DataError where inputs or targets have a value that is no finite float32."""
    for what, values in (("inputs", found.inputs), ("targets", found.targets)):
        if values.is_floating_point():
            _check_values(f"{split} {what}", values)


def _check_values(where: str, values: Tensor) -> None:
    count, row = 0, -1
    for first, piece in chunks(values):
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is what is looked for
            finite = np.isfinite(as_numpy(piece).astype(np.float32, copy=False))
        if not finite.all():
            bad = ~finite.reshape(len(piece), -1)
            row = first + int(bad.any(axis=1).argmax()) if row < 0 else row
            count += int(bad.sum())
    if count:
        number = "1 value is" if count == 1 else f"{count:,} values are"
        raise DataError(
            f"{where}: {number} NaN, infinite or beyond float32, the first in row {row} (rows count from 0). "
            "Leave such rows out, or fill them, before training."
        )


def check_agreement(splits: Mapping[str, Examples]) -> None:
    """Raise DataError where a split has other shapes than train, or labels where train has real values."""
    train = splits["train"]
    for name, found in splits.items():
        if found.multilabel != train.multilabel:
            whole, real = (name, "train") if found.multilabel else ("train", name)
            raise DataError(
                f"the targets of {whole} are integers of 0 and 1, several labels an example, and those of {real} are "
                "not: expected one kind in every split."
            )
        for what in ("inputs", "targets"):
            expected, shape = _shape(getattr(train, what)), _shape(getattr(found, what))
            if shape != expected:
                raise DataError(f"{name} {what}: an example has shape {shape}, and in train {expected}.")
        if found.targets.is_floating_point() != train.targets.is_floating_point():
            raise DataError(
                f"{name} targets: {found.targets.dtype}, and in train {train.targets.dtype}: "
                "expected integer labels in every split, or real values in every split."
            )


def _shape(values: Tensor) -> tuple[int, ...]:
    return tuple(values.shape[1:])


def count_classes(train: Tensor, others: Mapping[str, Tensor], *, classes: int | None = None) -> int:
    """Return the number of classes, max over train + 1 where `classes` does not say, and check all labels against it.

    Raises DataError with the split, row and value of the first label that is out of range.
    """
    _check_range("train", train, MOST_CLASSES if classes is None else classes)
    known = int(train.max()) + 1 if classes is None else classes
    for name, labels in others.items():
        _check_range(name, labels, known)
    return known


def _check_range(split: str, labels: Tensor, classes: int) -> None:
    lowest, highest = torch.aminmax(labels)
    if int(lowest) >= 0 and int(highest) < classes:
        return
    row = int(((labels < 0) | (labels >= classes)).nonzero()[0])
    expected = "labels from 0 on" if classes == MOST_CLASSES else f"0 to {classes - 1}"
    whose = ", the labels of train" if split != "train" and classes != MOST_CLASSES else ""
    raise DataError(_out_of_range(f"{split} row {row}", int(labels[row]), f"{expected}{whose}"))


def check_label(target: Tensor, classes: int | None, where: Callable[[], str]) -> None:
    """Raise DataError, saying `where`, for the target of an example that is no label of so many classes.

    Where targets are no labels, `classes` is None and nothing is looked at.
    """
    if classes is None or target.ndim:  # the shape is another question
        return
    label = target.item()
    if not isinstance(label, int) or not 0 <= label < classes:
        raise DataError(_out_of_range(where(), label, f"0 to {classes - 1}"))


def _out_of_range(where: str, label: float, expected: str) -> str:
    return (
        f"labels out of range: {where} has the label {label}: expected {expected}. Number the classes from 0; for "
        "regression, give the targets as floats."
    )
