from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from shoal.assembly.thumbnails import ACROSS, SHEET_BYTES, TILE, Sheet, png, sheet


def opened(made: Sheet) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(made.png)))


def tile(made: Sheet, number: int) -> np.ndarray:
    row, column = divmod(number, made.across)
    image = opened(made)
    return image[row * made.height : (row + 1) * made.height, column * made.width : (column + 1) * made.width]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_is_read_back_by_another_library(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))).reshape(image.shape), image)


@pytest.mark.parametrize("shape", [(1, 8, 6), (3, 8, 6), (9, 9)])
def test_every_picture_is_where_its_tile_is(shape: tuple[int, ...]) -> None:
    pictures = torch.randint(0, 256, (ACROSS + 5, *shape), dtype=torch.uint8)
    pictures[0] = 255
    made = sheet(pictures)
    assert (made.count, made.height, made.width) == (ACROSS + 5, *shape[-2:])
    for number, picture in enumerate(pictures):
        expected = picture.permute(1, 2, 0).squeeze(2) if picture.ndim == 3 else picture
        assert np.array_equal(tile(made, number), expected.numpy()), number


def test_large_pictures_are_shrunk_by_averaging_and_the_sheet_stays_small() -> None:
    made = sheet(torch.rand(48, 3, 200, 100, generator=torch.manual_seed(0)) * 255)
    assert len(made.png) < 300_000
    assert made.height == 2 * made.width < TILE
    assert 48 * 3 * made.height * made.width <= SHEET_BYTES
    assert abs(float(tile(made, 3).mean()) - 127.5) < 10


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0, 1, (0, 255)), (0, 200, (0, 200)), (0, 16, (0, 255)), (-3, 5, (0, 255)), (0.0, 0.8, (0, 204))],
)
def test_the_range_of_numbers_becomes_that_of_pixels(low: float, high: float, shown: tuple[int, int]) -> None:
    made = opened(sheet(torch.linspace(low, high, 64).reshape(1, 8, 8)))[:8, :8]
    assert (made.min(), made.max()) == shown


@pytest.mark.parametrize("value", [0.0, 3.0, float("nan"), float("inf")])
def test_a_flat_or_broken_picture_is_a_picture_too(value: float) -> None:
    assert opened(sheet(torch.full((2, 4, 4), value))).shape == (4, 4 * ACROSS)
