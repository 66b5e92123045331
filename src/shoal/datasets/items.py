"""Examples of a user's Dataset: read at their address, checked to be pairs, collated."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, get_worker_info

from shoal import rng
from shoal.datasets.convert import to_tensor
from shoal.errors import DataError, TrainingError, place_of, said

Item = tuple[Tensor, Tensor]


def read(dataset: Any, index: int, *, seed: int, epoch: int, purpose: str = "example") -> Item:
    """Return example `index` as (input, target), in their own dtypes.

    The generators of torch, NumPy and Python are seeded from (seed, epoch, index) first, so augmentation that draws
    from them is a function of that address; the caller restores them. Raises DataError for what is no pair of
    numbers, and TrainingError that names the index where the Dataset itself raises.
    """
    rng.seed_all(rng.key(seed, purpose, epoch, index))
    try:
        found = dataset[index]
    except BaseException as error:  # a boundary: the code is the user's, and the traceback is kept as the cause
        if not is_the_users(error):
            raise
        raise TrainingError(f"{place(dataset, index)} raised {said(error)}{place_of(error)}") from error
    return as_pair(found, place(dataset, index))


def is_the_users(error: BaseException) -> bool:
    """Return whether the code that reads raised it: workers ignore signals, so there all of it is, Ctrl-C's too."""
    return isinstance(error, Exception) or get_worker_info() is not None


def place(dataset: Any, index: int) -> str:
    """Return an item's name in messages, `Faces[3]`: its place in the user's Dataset, not in a part cut from it."""
    dataset, index = users_own(dataset, index)
    return f"{type(dataset).__name__}[{index}]"


def users_own(dataset: Any, index: int) -> tuple[Any, int]:
    """Return the Dataset that the user passed and an index in it, for an index in a part that was cut from it."""
    while isinstance(dataset, Subset):
        dataset, index = cast(Any, dataset.dataset), int(dataset.indices[index])
    return dataset, index


def as_pair(found: Any, where: str) -> Item:
    """Return an item of a Dataset as two tensors; raises DataError that says what was found instead."""
    pair: Sequence[Any] = cast(Sequence[Any], found) if isinstance(found, tuple | list) else ()
    if len(pair) != 2:
        raise DataError(f"{where} is {_described(cast(object, found))}: expected a pair (input, target).")
    given_input, given_target = pair
    target = _numeric(given_target, f"the target of {where}")
    if target.ndim and not target.is_floating_point():
        raise DataError(
            f"the target of {where} is an integer array of shape {tuple(target.shape)}: expected one label. For "
            "several labels an example (task=multilabel), give them as floats, 0.0 and 1.0."
        )
    return _numeric(given_input, f"the input of {where}"), target


def _numeric(value: Any, where: str) -> Tensor:
    if not isinstance(value, Tensor | np.ndarray | np.generic | numbers.Real):
        raise DataError(f"{where} is {_described(cast(object, value))}: expected a tensor, a NumPy array or a number.")
    return to_tensor(value, where)


def _described(value: object) -> str:
    if isinstance(value, tuple | list | dict):
        return f"a {type(cast(object, value)).__name__} of {len(cast(Sequence[Any], value))}"
    return f"a {type(value).__name__}"


def collate(items: Sequence[Item], indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return items as one batch: inputs [B, ...] float32, targets [B] int64 or [B, ...] float32."""
    first_input, first_target = items[0]
    for (x, y), index in zip(items, indices, strict=True):
        if x.shape != first_input.shape or y.shape != first_target.shape:
            raise DataError(
                f"example {index} has an input of shape {tuple(x.shape)} and a target of shape {tuple(y.shape)}, and "
                f"example {indices[0]} of {tuple(first_input.shape)} and {tuple(first_target.shape)}: "
                "the examples of a batch need one shape."
            )
    kind = torch.float32 if first_target.is_floating_point() else torch.int64
    inputs = torch.stack([x.to(torch.float32) for x, _ in items])
    return inputs, torch.stack([y.to(kind) for _, y in items])
