"""How examples are mixed at each step: the draws of mixup and CutMix, made on the host, ahead, by blocks.

Every batch is mixed with itself in reverse order, so a step needs five numbers only: the share that an example keeps
of itself, and the box that CutMix replaces. They go to the device as other scheduled values do; nothing is drawn in a
step. The draws of a step are a function of (seed, "mix", step), whatever block was asked for.

    mixup    x'[i] = l x[i] + (1 - l) x[-1 - i], l ~ Beta(a, a), l >= 1/2          (arXiv 1710.09412, equation 1)
    CutMix   x'[i] = x[i], but x[-1 - i] inside the box; l = 1 - area / (H W)      (arXiv 1905.04899, section 3.1)

and the loss is l times that of an example's own label and 1 - l times that of the other's. Of mixup's l the larger of
l and 1 - l is taken: with pairs of a batch and its reverse the set of mixed examples is the same, and the box is
empty. CutMix's l is exactly what its box leaves, be it less than one half.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

MIXING = ("share", "top", "left", "bottom", "right")
"""The columns of `mixing_values`; rows from top to bottom - 1 and columns from left to right - 1 are replaced."""
GRID = 1024
"""Steps that one generator draws for: long enough to be fast, and fixed, for the draws depend on it."""

Values = NDArray[np.float64]


def mixing_values(
    seed: int, first: int, last: int, *, mixup: float, cutmix: float, height: int = 1, width: int = 1
) -> Values:
    """Return the draws of steps `first` to `last` (not included): float64, [last - first, 5], columns as in MIXING.

    `mixup` and `cutmix` are the alphas, 0 for off; where both are on, each step is one of the two with probability 1/2,
    and where both are off, each keeps all of itself. `height` and `width` are the pictures', in pixels.

    >>> mixing_values(0, 5, 7, mixup=0.0, cutmix=0.0).tolist()
    [[1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]]
    """
    grids = range(first // GRID, -(-last // GRID))
    drawn = [_grid(seed, grid, mixup=mixup, cutmix=cutmix, height=height, width=width) for grid in grids]
    begins = grids.start * GRID
    return np.concatenate([np.empty((0, len(MIXING))), *drawn])[first - begins : last - begins]


def _grid(seed: int, grid: int, *, mixup: float, cutmix: float, height: int, width: int) -> Values:
    """Draw for all steps of one stretch of the grid, in an order that does not depend on what is on.

    By NumPy's RandomState over a counter-based generator: its streams are frozen for ever (NEP 19), those of
    `Generator.beta` are not, and a run that is resumed under another NumPy has to see the same boxes.
    """
    random = np.random.RandomState(np.random.Philox(key=_key(seed, "mix", grid)))
    coin, y, x = random.random_sample((3, GRID))
    values = np.zeros((GRID, len(MIXING)))
    values[:, 0] = 1.0
    if mixup > 0:
        share = random.beta(mixup, mixup, GRID)
        values[:, 0] = np.maximum(share, 1.0 - share)
    if cutmix > 0:
        boxes = _boxes(random.beta(cutmix, cutmix, GRID), y, x, height=height, width=width)
        values = np.where(coin[:, None] < 0.5, values, boxes) if mixup > 0 else boxes
    return values


def _boxes(share: Values, y: Values, x: Values, *, height: int, width: int) -> Values:
    """Boxes of about 1 - share of the area around a point, cut off at the edges; and the share that they leave."""
    side = np.sqrt(1.0 - share)
    rows, columns = np.floor(height * side), np.floor(width * side)
    top, left = np.floor(y * height) - rows // 2, np.floor(x * width) - columns // 2
    bottom, right = np.minimum(top + rows, height), np.minimum(left + columns, width)
    top, left = np.maximum(top, 0.0), np.maximum(left, 0.0)
    return np.stack([1.0 - (bottom - top) * (right - left) / (height * width), top, left, bottom, right], axis=1)


def _key(seed: int, purpose: str, *address: int) -> int:
    """What `shoal.rng.key` returns, which this room cannot import, for it does without torch; a test compares them."""
    text = "/".join([str(seed), purpose, *(str(item) for item in address)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
