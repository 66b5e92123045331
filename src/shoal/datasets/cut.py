"""Cutting a valid split from train where there is none: always the same examples, whatever the run's seed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shoal.errors import DataError

MOST = 5_000
"""A valid split of a tenth of train gets no larger than this unless asked for."""


def valid_size(total: int, asked: float | None) -> int:
    """Return how many of `total` train examples go to valid: a share below 1, a count, or None for a tenth.

    >>> valid_size(60_000, None), valid_size(1_000, None), valid_size(1_000, 0.25), valid_size(1_000, 30)
    (5000, 100, 250, 30)
    """
    if asked is None:
        return min(MOST, max(1, total // 10)) if total >= 2 else 0
    if asked == 0:
        return 0
    if asked >= 1 and asked != int(asked):
        raise DataError(f"dataset.valid = {asked:g}: expected a share below 1, or a whole number of examples.")
    size = int(asked) if asked >= 1 else max(1, round(asked * total))
    if size >= total:
        raise DataError(
            f"dataset.valid = {asked:g}: {size:,} of the {total:,} train examples would leave none to train on. "
            f"Give a share below 1, or a count of at most {total - 1:,}."
        )
    return size


def cut(total: int, size: int) -> tuple[Tensor, Tensor]:
    """Return the rows of train and of valid, both ascending: valid is the last `size` of a fixed permutation.

    The permutation is that of NumPy's legacy generator at seed 0, whose stream is frozen for good (NEP 19). Rows are
    sorted so that evaluation reads memory-mapped files in their order.
    """
    permutation = np.random.RandomState(0).permutation(total)
    kept, left = permutation[: total - size], permutation[total - size :]
    return torch.from_numpy(np.sort(kept)), torch.from_numpy(np.sort(left))


def note(size: int) -> str:
    """Return the sentence that says how valid came about."""
    if not size:
        return "valid: none; nothing is evaluated as training goes"
    return f"valid: {size:,} example{'s' * (size != 1)} cut from train by a fixed permutation"


def refuse_size(asked: float | None) -> None:
    """Raise DataError where a size was asked for and the data have a valid split of their own."""
    if asked is not None:
        raise DataError(
            f"dataset.valid = {asked:g}: this dataset has a valid split of its own, which is used whole. "
            "Leave dataset.valid out (null)."
        )
