from __future__ import annotations

import numpy as np
import pytest
import torch

from shoal.datasets import Examples
from shoal.datasets.constants import constants


def split(x: np.ndarray, rows: torch.Tensor | None = None) -> Examples:
    return Examples(torch.from_numpy(x), torch.zeros(len(x)), rows)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(50, 3, 4, 5), (50, 7), (50, 4, 5)])
def test_constants_agree_with_numpy(dtype: str, shape: tuple[int, ...]):
    x = (np.random.default_rng(0).random(shape) * 100).astype(dtype)
    axes = (0, 2, 3) if len(shape) == 4 else (0,)
    found = constants(split(x))
    mean, deviation = x.astype(np.float64).mean(axes), x.astype(np.float64).std(axes)
    assert found.mean.shape == ((3, 1, 1) if len(shape) == 4 else shape[1:])
    np.testing.assert_allclose(found.mean.numpy().reshape(mean.shape), mean, rtol=1e-6)
    np.testing.assert_allclose(found.deviation.numpy().reshape(mean.shape), deviation, rtol=1e-6)


def test_only_the_rows_of_the_split_count():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    rows = torch.tensor([3, 5, 30])
    found = constants(split(x, rows))
    alone = constants(split(x[rows.numpy()]))
    assert torch.equal(found.mean, alone.mean)
    assert torch.equal(found.deviation, alone.deviation)


def test_pieces_give_the_constants_of_the_whole():
    x = np.random.default_rng(0).integers(0, 256, (3_000, 1, 28, 28), dtype=np.uint8)
    found = constants(split(x))
    assert found.mean.item() == np.float32(x.mean(dtype=np.float64))
    assert found.deviation.item() == pytest.approx(x.std(dtype=np.float64), rel=1e-7)


@pytest.mark.parametrize("value", [0.1, 0.0, 1e6, 7.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_a_constant_feature_gets_the_deviation_one(value: float, dtype: type):
    x = np.full((999, 2), min(value, 255) if dtype == np.uint8 else value, dtype)
    assert torch.equal(constants(split(x)).deviation, torch.ones(2))


def test_a_large_mean_does_not_cancel_the_deviation():
    x = (1e7 + np.random.default_rng(0).normal(size=(5_000, 1))).astype(np.float64)
    assert constants(split(x)).deviation.item() == pytest.approx(x.std(), rel=1e-6)
