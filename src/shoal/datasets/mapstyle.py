"""Data from map-style Datasets: what they are is told by their attributes, or found by reading them through once.

A Dataset may carry `digest` (text that changes when its content does), `classes` (their number, or their names) and
`targets` (all labels); torchvision's have the latter two. What it does not tell is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from shoal import rng
from shoal.datasets.checks import count_classes
from shoal.datasets.cut import cut, note, refuse_size, valid_size
from shoal.datasets.digest import SPLITS, add_tensor
from shoal.datasets.examples import Data
from shoal.datasets.items import Item, place, read
from shoal.errors import DataError, TrainingError, ran_out
from shoal.recipe.parts import DatasetPart, skips_broken


@dataclass(frozen=True)
class Known:
    """What is known of one split before training."""

    size: int
    first: Item
    labels: Tensor | None
    digest: str
    read_through: bool
    broken: tuple[int, ...] = ()
    """Examples that cannot be read or whose label is out of range, as far as that is known; `labels` has 0 for them."""


def from_datasets(datasets: Mapping[str, Any], part: DatasetPart) -> Data:
    """Return the data of map-style Datasets by split; raises DataError for what they do not tell and should."""
    skips = skips_broken(part)
    known = {name: know(name, datasets[name], skips=skips) for name in SPLITS if name in datasets}
    _check_agreement(known)
    if skips:
        known = _without_odd_labels(known, _told(datasets["train"]))
    classes = _classes(datasets["train"], known)
    notes = [
        f"{name}: read through once to identify it; give it a `digest` to skip this"
        for name in known
        if known[name].read_through
    ]
    splits, rows, said = _with_valid({name: datasets[name] for name in known}, known["train"].size, part)
    x, y = known["train"].first
    return Data(
        splits=splits,
        input_shape=tuple(x.shape),
        target_shape=tuple(y.shape),
        classes=classes,
        class_counts=_counts(known["train"], rows, classes),
        digest=_digest(known),
        normalisation=None,
        notes=(*notes, *said),
    )


def know(name: str, dataset: Any, *, skips: bool = False) -> Known:
    """Return what a Dataset tells of itself, or what reading it through finds; with `skips`, examples may be broken."""
    size = _size(name, dataset)
    given = getattr(dataset, "digest", None)
    with rng.preserved():
        items = (_item(name, dataset, index, skips=skips) for index in range(size))
        if given is None:
            return _read_through(name, dataset, items)
        first = next((item for item in items if item is not None), None)
    if first is None:
        raise DataError(_nothing(name, dataset))
    if not isinstance(given, str) or not given:
        raise DataError(
            f"{name}: the `digest` of {_name(dataset)} is {given!r}: expected a text that changes with its content."
        )
    return Known(size, first, _targets(name, dataset, size), given, read_through=False)


def _size(name: str, dataset: Any) -> int:
    try:
        size = len(dataset)
    except TypeError as error:
        raise DataError(
            f"{name}: {_name(dataset)} has no length: expected a map-style Dataset with __len__."
        ) from error
    if not size:
        raise DataError(f"{name}: {_name(dataset)} has no examples in it.")
    return size


def _item(name: str, dataset: Any, index: int, *, skips: bool) -> Item | None:
    """One item, as it is for whoever asks what the data are: the same random augmentation every time.

    None where it cannot be read, and broken ones may be.
    """
    try:
        x, y = read(dataset, index, seed=0, epoch=0, purpose="identify")
    except (TrainingError, DataError) as error:
        cause = error.__cause__
        if skips and not (cause is not None and ran_out(cause)):
            return None
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: {error}.") from cause  # nothing has been trained yet: the input is at fault
    for what, values in (("input", x), ("target", y)):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise DataError(f"{name}: the {what} of {place(dataset, index)} has values that are NaN or infinite.")
    return x, y


def _read_through(name: str, dataset: Any, items: Iterable[Item | None]) -> Known:
    found, labels, broken = hashlib.sha256(), list[int](), list[int]()
    first: Item | None = None
    size = 0
    for size, item in enumerate(items, 1):
        if item is None:
            found.update(b"broken")
            broken.append(size - 1)
            labels.append(0)
            continue
        first = first or item
        for what, values in zip(("input", "target"), item, strict=True):
            add_tensor(found, what, values)
        if not item[1].is_floating_point():
            labels.append(int(item[1]))
    if first is None:
        raise DataError(_nothing(name, dataset))
    real = len(labels) == len(broken)
    if not real and len(labels) != size:
        raise DataError(f"{name}: some targets of {_name(dataset)} are integers and some are not: expected one kind.")
    told = None if real else torch.tensor(labels)
    return Known(size, first, told, found.hexdigest(), read_through=True, broken=tuple(broken))


def _nothing(name: str, dataset: Any) -> str:
    return f"{name}: none of the examples of {_name(dataset)} can be read: expected one at least."


def _targets(name: str, dataset: Any, size: int) -> Tensor | None:
    """The labels a Dataset tells of; None where it tells none, or real values."""
    given = getattr(dataset, "targets", None)
    if given is None:
        return None
    labels = given.detach().cpu() if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
    if labels.is_floating_point():
        return None
    if labels.ndim != 1 or len(labels) != size:
        raise DataError(
            f"{name}: the `targets` of {_name(dataset)} have shape {tuple(labels.shape)}: "
            f"expected ({size},), one label an example."
        )
    return labels.to(torch.int64)


def _check_agreement(known: Mapping[str, Known]) -> None:
    expected = known["train"].first
    for name, split in known.items():
        for what, theirs, ours in zip(("input", "target"), split.first, expected, strict=True):
            if theirs.shape != ours.shape or (
                what == "target" and theirs.is_floating_point() != ours.is_floating_point()
            ):
                raise DataError(
                    f"{name}: the first {what} is {theirs.dtype} of shape {tuple(theirs.shape)}, "
                    f"and in train {ours.dtype} of shape {tuple(ours.shape)}."
                )


def _classes(train: Any, known: Mapping[str, Known]) -> int | None:
    if known["train"].first[1].is_floating_point():
        return None
    classes = _told(train)
    labels = {name: split.labels for name, split in known.items() if split.labels is not None}
    if "train" in labels:
        return count_classes(labels.pop("train"), labels, classes=classes)
    if classes is None:
        raise DataError(
            f"train: {_name(train)} has a `digest`, but neither `classes` (their number, or their names) nor `targets` "
            "(all labels): the model needs the number of classes. Set, for example, dataset.classes = 10 on the object."
        )
    return classes


def _told(train: Any) -> int | None:
    """How many classes a Dataset says that there are."""
    told: Any = getattr(train, "classes", None)
    return told if isinstance(told, int) or told is None else len(list(cast(Iterable[Any], told)))


def _without_odd_labels(known: Mapping[str, Known], classes: int | None) -> dict[str, Known]:
    """Count the examples with a label out of range as broken, where it is told what that is."""
    found = dict(known)
    for name, split in known.items():
        if split.labels is None or classes is None:
            continue
        odd = (split.labels < 0) | (split.labels >= classes)
        broken = sorted({*split.broken, *cast(list[int], odd.nonzero().squeeze(1).tolist())})
        found[name] = replace(split, labels=split.labels.where(~odd, 0), broken=tuple(broken))
    return found


def _with_valid(
    datasets: dict[str, Any], total: int, part: DatasetPart
) -> tuple[dict[str, Any], Tensor | None, list[str]]:
    """The splits with valid cut from train where there is none, and the rows that train keeps."""
    if "valid" in datasets:
        refuse_size(part.valid)
        return datasets, None, []
    size = valid_size(total, part.valid)
    if not size:
        return datasets, None, [note(size)]
    train = datasets.pop("train")
    kept, left = cut(total, size)
    halves = {name: Subset(train, cast(list[int], rows.tolist())) for name, rows in (("train", kept), ("valid", left))}
    return {**halves, **datasets}, kept, [note(size)]


def _counts(train: Known, rows: Tensor | None, classes: int | None) -> tuple[int, ...] | None:
    if train.labels is None or classes is None:
        return None
    readable = torch.ones(train.size, dtype=torch.bool)
    readable[torch.tensor(train.broken, dtype=torch.int64)] = False
    kept = readable.nonzero().squeeze(1) if rows is None else rows[readable[rows]]
    return tuple(cast(list[int], torch.bincount(train.labels[kept], minlength=classes).tolist()))


def _digest(known: Mapping[str, Known]) -> str:
    found = hashlib.sha256()
    for name, split in known.items():
        found.update(f"{name} {split.size} {'read' if split.read_through else 'given'} {split.digest}\n".encode())
    return found.hexdigest()


def _name(dataset: Any) -> str:
    return type(dataset).__name__


def is_map_style(value: object) -> bool:
    """Return whether something passed from Python is read as a map-style Dataset."""
    if isinstance(value, torch.utils.data.Dataset):
        return True
    if isinstance(value, Mapping | Tensor | np.ndarray | list | tuple | str):
        return False
    return isinstance(value, Sized) and hasattr(value, "__getitem__")
