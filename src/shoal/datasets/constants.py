"""Normalisation constants: mean and deviation of train, per channel of pictures, per feature of anything else.

Computed in float64 a piece at a time, never with a float copy of the whole; sums over integers of up to 16 bits are
exact. The deviation is the population's (divided by N).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from shoal.datasets.chunks import as_numpy, chunks
from shoal.datasets.examples import Examples, Normalisation

EXACT = frozenset((torch.bool, torch.uint8, torch.int8, torch.int16))
"""Types whose squares a piece can sum in 64-bit integers without overflow."""
RESOLVED = 2.0**-24
"""A deviation below this share of the mean is rounding of a constant: float32 cannot resolve it."""


def constants(train: Examples) -> Normalisation:
    """Return the constants of a split: shapes [C, 1, 1] for pictures [C, H, W], [F] for vectors [F].

    A feature that never changes gets the deviation 1.
    """
    inputs = train.inputs
    axes = (0, *range(2, inputs.ndim)) if inputs.ndim >= 4 else (0,)
    total = len(train) * (inputs[0, 0].numel() if inputs.ndim >= 4 else 1)
    moments = _exact if inputs.dtype in EXACT else _two_passes
    mean, variance = moments(inputs, train.rows, axes, total)
    deviation = np.sqrt(variance)
    deviation[deviation <= RESOLVED * np.abs(mean)] = 1.0
    deviation = deviation.astype(np.float32)
    deviation[deviation == 0] = 1.0
    shape = (-1, *([1] * (inputs.ndim - 2))) if inputs.ndim >= 4 else tuple(inputs.shape[1:])
    return Normalisation(
        torch.from_numpy(mean.astype(np.float32).reshape(shape)), torch.from_numpy(deviation.reshape(shape))
    )


Moments = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _exact(inputs: Tensor, rows: Tensor | None, axes: tuple[int, ...], total: int) -> Moments:
    """From integer sums of values and squares: (n Q - S^2) / n^2, in Python's integers."""
    sums: Any = 0
    squares: Any = 0
    for _, piece in chunks(inputs, rows):
        values = as_numpy(piece).astype(np.int64)
        sums = sums + values.sum(axis=axes).astype(object)
        squares = squares + np.square(values, out=values).sum(axis=axes).astype(object)
    mean = np.asarray(sums / total, dtype=np.float64)
    variance = np.asarray((total * squares - sums * sums) / (total * total), dtype=np.float64)
    return mean, variance


def _two_passes(inputs: Tensor, rows: Tensor | None, axes: tuple[int, ...], total: int) -> Moments:
    """The mean first, then squares of what is left: no cancellation where the mean is large."""
    sums: Any = 0.0
    for _, piece in chunks(inputs, rows):
        sums = sums + as_numpy(piece).astype(np.float64).sum(axis=axes)
    mean = np.asarray(sums / total)
    centre = mean.reshape(-1, *([1] * (inputs.ndim - 2))) if inputs.ndim >= 4 else mean
    squares: Any = 0.0
    for _, piece in chunks(inputs, rows):
        values = as_numpy(piece).astype(np.float64)
        values -= centre
        squares = squares + np.square(values, out=values).sum(axis=axes)
    return mean, np.asarray(squares / total)
