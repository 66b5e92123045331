"""Reading a large tensor a piece at a time, so that checking it never costs a second copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

ELEMENTS = 1 << 18
"""Values in a piece: 2 MB as float64. Fixed, so that sums over pieces have the same bits everywhere."""


def chunks(values: Tensor, rows: Tensor | None = None) -> Iterator[tuple[int, Tensor]]:
    """Yield (first, piece) over the rows of `values` (only `rows`, where given), each piece on the CPU.

    >>> [(first, len(piece)) for first, piece in chunks(torch.zeros(3, 1 << 17))]
    [(0, 2), (2, 1)]
    """
    total = len(values) if rows is None else len(rows)
    step = max(1, ELEMENTS // max(1, values[:1].numel()))
    for first in range(0, total, step):
        last = min(first + step, total)
        piece = values[first:last] if rows is None else values[rows[first:last]]
        yield first, piece.cpu()


def as_numpy(piece: Tensor) -> np.ndarray[Any, Any]:
    """Return a piece as an array; NumPy has no bfloat16, which becomes float32."""
    return (piece.float() if piece.dtype == torch.bfloat16 else piece).numpy()
