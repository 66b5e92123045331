"""Data from objects that are passed from Python: arrays and tensors without a copy, Datasets, or finished Data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch.utils.data import IterableDataset

from shoal.datasets.examples import Data, Examples, Stream
from shoal.datasets.mapstyle import from_datasets, is_map_style
from shoal.datasets.prepare import check_names, prepare
from shoal.datasets.streams import from_streams
from shoal.errors import DataError
from shoal.recipe.parts import DatasetPart, skips_broken

EXPECTED = (
    'expected (x, y), or {"train": (x, y), "valid": (x, y), "test": (x, y)} with valid and test as you have them, '
    "or a torch.utils.data.Dataset, map-style or a stream, or a mapping of splits to those"
)


def from_objects(source: Any, part: DatasetPart) -> Data:
    """Return the data of objects passed from Python; raises DataError for what they cannot be.

    source: (x, y); a mapping of splits to (x, y); a map-style Dataset; a mapping of splits to Datasets; a stream
    (IterableDataset), or a mapping of splits of which train is one; or Data, returned as it is. x [N, ...] and y [N]
    or [N, K] are arrays, tensors or lists.
    """
    data = source if isinstance(source, Data) else _built(source, part)
    _refuse_idle(data, part)
    return data


def _built(source: Any, part: DatasetPart) -> Data:
    splits = _splits(source)
    check_names(splits)
    pairs = {name: cast(Sequence[Any], value) for name, value in splits.items() if _is_pair(value)}
    if len(pairs) == len(splits):
        return prepare({name: (pair[0], pair[1]) for name, pair in pairs.items()}, part)
    if any(isinstance(value, IterableDataset) for value in splits.values()):
        return from_streams(splits, part)
    for name, value in splits.items():
        if not is_map_style(value):
            mixed = " for every split, as others are Datasets" if _is_pair(value) else ""
            raise DataError(f"{name}: found a {_described(value)}{mixed}: {EXPECTED}.")
    return from_datasets(splits, part)


def _refuse_idle(data: Data, part: DatasetPart) -> None:
    """Raise DataError where broken examples are to be left out of data that are not read one by one."""
    by_example = any(not isinstance(split, Examples | Stream) for split in data.splits.values())
    if skips_broken(part) and not by_example:
        raise DataError(
            "dataset.broken = skip: it is for map-style Datasets, whose examples are read one by one, and these data "
            "are not. Leave it out."
        )


def _splits(source: Any) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return dict(cast(Mapping[str, Any], source))
    return {"train": source}


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(cast(Sequence[Any], value)) == 2


def _described(value: object) -> str:
    size = f" of {len(cast(Sequence[Any], value))}" if isinstance(value, tuple | list) else ""
    return f"{type(cast(object, value)).__name__}{size}"
