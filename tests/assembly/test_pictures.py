from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from shoal.assembly.pictures import GREY, are_pictures, png, sheet, shown
from shoal.datasets import Normalisation


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 8, 8), True), ((3, 2, 5), True), ((2, 8, 8), False), ((64,), False), ((8, 8), False)]
)
def test_pictures_have_one_channel_or_three(shape: tuple[int, ...], expected: bool) -> None:
    assert are_pictures(shape) is expected


def test_normalisation_is_undone_and_values_are_stretched() -> None:
    raw = torch.tensor([0.0, 4.0, 8.0, 16.0]).view(1, 1, 2, 2)
    constants = Normalisation(torch.tensor([[[5.0]]]), torch.tensor([[[3.0]]]))
    assert shown(constants.apply(raw), constants).flatten().tolist() == [0, 64, 128, 255]
    assert shown(raw, None).flatten().tolist() == [0, 64, 128, 255]


def test_each_channel_gets_its_own_constants_back() -> None:
    raw = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1)
    constants = Normalisation(torch.tensor([1.0, 2.0, 0.0]).view(3, 1, 1), torch.tensor([1.0, 5.0, 0.5]).view(3, 1, 1))
    assert shown(constants.apply(raw), constants).flatten().tolist() == [0, 128, 255]


def test_pictures_of_one_value_are_black() -> None:
    assert shown(torch.full((1, 1, 2, 2), 7.0), None).flatten().tolist() == [0, 0, 0, 0]


def test_large_pictures_shrink_and_keep_their_shape() -> None:
    assert shown(torch.rand(2, 3, 40, 20), None, largest=10).shape == (2, 3, 10, 5)


def test_a_sheet_has_the_pictures_in_order_with_grey_around() -> None:
    pictures = torch.arange(1, 6, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 2, 3)
    whole = sheet(pictures, gap=1)
    assert whole.shape == (1, 10, 13)
    assert [[int(whole[0, 1 + 3 * row, 1 + 4 * column]) for column in range(3)] for row in range(3)] == [
        [1, 2, 3],
        [4, 5, GREY],
        [GREY] * 3,
    ]
    assert set(whole[0, 0].tolist()) == set(whole[0, :, -1].tolist()) == {GREY}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_same_values(channels: int) -> None:
    picture = torch.arange(channels * 6, dtype=torch.uint8).view(channels, 2, 3)
    found = np.asarray(Image.open(io.BytesIO(png(picture))))
    assert np.array_equal(np.atleast_3d(found), picture.permute(1, 2, 0).numpy())
