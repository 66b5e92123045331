"""The 1,797 handwritten digits of UCI, 8x8 pixels of 0 to 16, shipped with Shoal.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
doi 10.24432/C50P49, licensed CC BY 4.0. These are the examples of its test file, in the order in which scikit-learn's
`load_digits` has them; here they are stored as bytes and split by a fixed permutation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from shoal.datasets.examples import Data, picture_encoding
from shoal.datasets.prepare import prepare
from shoal.errors import RecipeError
from shoal.recipe.parts import DatasetPart

FILE = Path(__file__).with_name("digits.npz")
LEVELS = 16
"""The value of a pixel that is full."""
SIZES = {"train": 1_257, "valid": 180, "test": 360}

Array = np.ndarray[Any, Any]


def load() -> tuple[Array, Array]:
    """Return all pictures [1797, 1, 8, 8] and labels [1797], both uint8, in scikit-learn's order."""
    with np.load(FILE, allow_pickle=False) as stored:
        return stored["images"][:, None], stored["labels"]


def build(part: DatasetPart) -> Data:
    """Return the digits: 1,257 train, 180 valid and 360 test, in that order of a fixed permutation."""
    if part.path is not None:
        raise RecipeError(
            f"dataset.path = {part.path}: the digits come with Shoal and are read from no other place. Leave it out, "
            "or name what is in that place: dataset=idx or dataset=arrays."
        )
    images, labels = load()
    permutation = np.random.RandomState(0).permutation(len(images))
    pairs: dict[str, tuple[Array, Array]] = {}
    first = 0
    for name, size in SIZES.items():
        rows = permutation[first : first + size]
        pairs[name] = images[rows], labels[rows]
        first += size
    return prepare(pairs, part, encoding=picture_encoding((1, 8, 8), levels=LEVELS))
