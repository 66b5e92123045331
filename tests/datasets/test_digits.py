from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from shoal.datasets import build, digits
from shoal.errors import DataError, RecipeError
from shoal.recipe.parts import Digits


def test_they_are_those_of_scikit_learn_in_its_order():
    theirs = load_digits()
    images, labels = digits.load()
    assert np.array_equal(images[:, 0], theirs.images)
    assert np.array_equal(labels, theirs.target)


def test_the_file_is_small():
    assert Path(digits.FILE).stat().st_size < 100_000


def test_the_splits_partition_all_of_them():
    data = build(Digits())
    assert data.sizes == {"train": 1_257, "valid": 180, "test": 360}
    assert (data.input_shape, data.target_shape, data.classes) == ((1, 8, 8), (), 10)
    assert sum(data.class_counts) == 1_257

    def counted(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
        return sorted(i.tobytes() + bytes([n]) for i, n in zip(images, labels, strict=True))

    parts = [(split.inputs.numpy(), split.targets.numpy()) for split in data.splits.values()]
    together = counted(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    assert together == counted(*digits.load())


def test_they_never_change():
    assert build(Digits()).digest == "d9dee91baaa83bcaece80190086aea6af0e664bd2742cb0ddfc110a009319390"


def test_their_valid_split_is_fixed():
    with pytest.raises(DataError, match=r"dataset.valid = 0.2: this dataset has a valid split of its own"):
        build(Digits(valid=0.2))


def test_a_path_is_refused():
    with pytest.raises(RecipeError, match=r"dataset.path = data: the digits come with Shoal .* dataset=idx or"):
        build(Digits(path="data"))


def test_normalisation_is_as_asked():
    assert build(Digits(normalise=False)).normalisation is None
    assert build(Digits()).normalisation.mean.shape == (1, 1, 1)


def test_a_raw_picture_is_read_as_16_levels():
    assert build(Digits()).encoding == {"kind": "image", "channels": 1, "height": 8, "width": 8, "levels": 16}
    assert digits.load()[0].max() == digits.LEVELS
