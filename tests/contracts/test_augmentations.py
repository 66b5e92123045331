"""Every augmentation goes through the same checks: adding a row to the table adds its suite.

What happens to an example is a function of (key, its index); its draws are distributed as the docs say; the picture's
shape, type and memory format stay; it can be recorded, stacked and differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.augment import ENTRIES, Augment
from shoal.recipe.schema import Regularise

AMOUNTS: dict[str, Any] = {"flip": True, "translate": 2, "crop": 0.4, "cutout": 3}
"""What each is tried with."""
CASES = [{name: amount} for name, amount in AMOUNTS.items()] + [AMOUNTS]
IDS = [*AMOUNTS, "all"]
SHAPES = [(3, 8, 8), (1, 7, 10)]
each = pytest.mark.parametrize("amounts", CASES, ids=IDS)


def pictures(count: int = 16, shape: tuple[int, ...] = (3, 8, 8)) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def ramps(count: int, height: int, width: int) -> Tensor:
    """Pictures whose two channels are the row and the column of each pixel, from 1: they tell where it came from."""
    rows, columns = torch.meshgrid(torch.arange(height) + 1.0, torch.arange(width) + 1.0, indexing="ij")
    return torch.stack((rows, columns)).expand(count, -1, -1, -1).contiguous()


def ks(values: Tensor) -> float:
    """The distance of Kolmogorov and Smirnov from uniform, times sqrt(n): above 1.95 once in a thousand times."""
    steps = torch.arange(1, len(values) + 1, dtype=torch.float64) / len(values)
    return float((values.double().sort().values - steps).abs().max()) * math.sqrt(len(values))


def chi_square(values: Tensor, kinds: int) -> float:
    """Chi square of counts against the uniform distribution, in deviations from its mean."""
    counts = torch.bincount(values.long(), minlength=kinds).double()
    assert len(counts) == kinds
    expected = len(values) / kinds
    return (float((counts - expected).square().sum() / expected) - (kinds - 1)) / math.sqrt(2 * (kinds - 1))


def test_every_augmentation_has_an_amount_a_key_and_a_field() -> None:
    assert set(AMOUNTS) == set(ENTRIES), "a new augmentation goes through its checks with an amount: add it here"
    assert set(ENTRIES) <= set(Regularise.model_fields)
    off = Augment()
    assert all(getattr(off, name) == Regularise.model_fields[name].default for name in ENTRIES)
    assert set(Augment.__dataclass_fields__) == set(ENTRIES)


def test_no_two_share_a_draw() -> None:
    columns = sorted((entry.first, entry.first + entry.draws) for entry in ENTRIES.values())
    assert columns[0][0] == 0
    assert all(end == start for (_, end), (start, _) in pairwise(columns))


@each
def test_what_happens_to_an_example_depends_on_key_and_index_alone(amounts: Mapping[str, Any]) -> None:
    augment, inputs, index = Augment(**amounts), pictures(), torch.randperm(10_000)[:16]
    found, order = augment(inputs, index, 5), torch.randperm(16)
    assert torch.equal(augment(inputs[order], index[order], 5), found[order])
    alone = torch.cat([augment(inputs[i : i + 1], index[i : i + 1], 5) for i in range(16)])
    torch.testing.assert_close(alone, found, rtol=0, atol=1e-6)
    assert torch.equal(augment(inputs, index, torch.tensor(5.0, dtype=torch.float64)), found)
    assert not torch.equal(augment(inputs, index, 6), found)  # another epoch
    assert not torch.equal(augment(inputs, index + 1, 5), found)


@each
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_type_and_memory_format_stay(
    amounts: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    augment, index = Augment(**amounts), torch.arange(16)
    rows = pictures(shape=shape).to(dtype)
    pixels, before = rows.contiguous(memory_format=torch.channels_last), rows.clone()
    found, other = augment(rows, index, 0), augment(pixels, index, 0)
    assert found.shape == other.shape == rows.shape
    assert found.dtype == other.dtype == dtype
    assert torch.equal(found, other)
    assert found.is_contiguous()
    assert other.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(rows, before)


@each
def test_it_can_be_recorded_and_serves_other_keys_and_examples(amounts: Mapping[str, Any]) -> None:
    augment, inputs, index = Augment(**amounts), pictures(), torch.arange(16)
    graph = make_fx(augment)(inputs, index, torch.tensor(1.0, dtype=torch.float64))
    key = torch.tensor(2.0**52, dtype=torch.float64)
    assert torch.equal(graph(inputs + 1, index * 7, key), augment(inputs + 1, index * 7, key))


@each
def test_runs_of_a_stack_are_augmented_as_each_alone(amounts: Mapping[str, Any]) -> None:
    augment, inputs, index, keys = Augment(**amounts), pictures(), torch.arange(16), torch.tensor([3, 4])
    expected = torch.stack([augment(inputs, index, key) for key in keys])
    torch.testing.assert_close(torch.func.vmap(lambda key: augment(inputs, index, key))(keys), expected)
    own, places = torch.stack((inputs, inputs + 1)), torch.stack((index, index + 5))
    expected = torch.stack([augment(*one) for one in zip(own, places, keys, strict=True)])
    torch.testing.assert_close(torch.func.vmap(augment)(own, places, keys), expected)


@each
def test_gradients_flow_through_and_autocast_changes_nothing(amounts: Mapping[str, Any]) -> None:
    augment, index = Augment(**amounts), torch.arange(2)
    inputs = pictures(2, (2, 5, 6)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, index, 3), (inputs,))
    batch = pictures()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = augment(batch, torch.arange(16), 3)
    assert torch.equal(found, augment(batch, torch.arange(16), 3))


def test_half_of_the_pictures_are_mirrored() -> None:
    inputs = pictures(4000, (1, 2, 3))
    found = Augment(flip=True)(inputs, torch.arange(4000), 0)
    mirrored = (found == inputs.flip(-1)).all((1, 2, 3))
    assert ((found == inputs).all((1, 2, 3)) ^ mirrored).all()
    assert abs(int(mirrored.sum()) - 2000) < 4 * math.sqrt(1000)


def test_shifts_are_uniform_and_bring_in_zeros() -> None:
    count, most, (height, width) = 6000, 2, (7, 9)
    inputs = ramps(count, height, width)
    found = Augment(translate=most)(inputs, torch.arange(count), 0)
    centre = found[:, :, 3, 4].long() - torch.tensor([4, 5])  # where the centre came from: within the picture
    assert abs(chi_square((centre[:, 0] + most) * (2 * most + 1) + centre[:, 1] + most, 25)) < 4.5
    padded = torch.nn.functional.pad(inputs[0], (most,) * 4)
    for picture, (down, right) in zip(found[:200], centre[:200].tolist(), strict=True):
        expected = padded[:, most + down : most + down + height, most + right : most + right + width]
        assert torch.equal(picture, expected)


def test_crops_have_the_areas_shapes_and_places_that_are_promised() -> None:
    count, least, (height, width) = 4000, 0.3, (24, 32)
    found = Augment(crop=least)(ramps(count, height, width), torch.arange(count), 0).double()
    top, left = found[:, 0, 9, 0], found[:, 1, 0, 13]  # away from the border, where a ramp is as steep as its step
    rise, run = (found[:, 0, 14, 0] - top) / 5, (found[:, 1, 0, 18] - left) / 5  # shares of the height and the width
    share, aspect = rise * run, run / rise
    assert ks((share - least) / (1 - least)) < 1.95
    widest = torch.clamp(-share.log(), max=math.log(4 / 3))
    assert (aspect.log().abs() <= widest + 1e-4).all()
    free = share < 0.7
    assert ks((aspect.log() / widest)[free] / 2 + 0.5) < 1.95
    for first, part, size, pixel in ((top, rise, height, 9.5), (left, run, width, 13.5)):
        start = (first - 0.5 - part * pixel) / size  # from 0; the ramp at the centre of the first pixel is 1
        assert (start > -1e-4).all()
        assert (start + part < 1 + 1e-4).all()
        inner = part < 0.9
        assert ks((start / (1 - part))[inner].clamp(0, 1)) < 1.95


def test_a_crop_is_bilinear_interpolation() -> None:
    torch.manual_seed(0)
    picture = torch.randn(1, 1, 9, 9)
    where = Augment(crop=0.5)(ramps(1, 9, 9), torch.tensor([4]), 0)[0] - 1
    found = Augment(crop=0.5)(picture, torch.tensor([4]), 0)
    rows, columns = where[0, :, 0], where[1, 0]
    weights_down = (1 - (rows[:, None] - torch.arange(9)).abs()).clamp(min=0)
    weights_right = (1 - (columns[:, None] - torch.arange(9)).abs()).clamp(min=0)
    torch.testing.assert_close(found[0, 0], weights_down @ picture[0, 0] @ weights_right.T)


@pytest.mark.parametrize("side", [1, 3, 4])
def test_a_square_of_that_side_is_set_to_zero_around_a_uniform_centre(side: int) -> None:
    count, (height, width) = 6000, (6, 7)
    found = Augment(cutout=side)(ramps(count, height, width), torch.arange(count), 0)
    assert torch.equal(found[:, 0] == 0, found[:, 1] == 0)
    gone = found[:, 0] == 0
    rows, columns = gone.any(2), gone.any(1)
    assert torch.equal(gone, rows[:, :, None] & columns[:, None, :])  # a box
    combined = torch.zeros(count, dtype=torch.long)
    for axis in (rows, columns):
        size = axis.shape[1]
        first, last = axis.long().argmax(1), size - 1 - axis.flip(1).long().argmax(1)
        centre = torch.where(first > 0, first + side // 2, last - side + 1 + side // 2)
        wanted = [range(max(c - side // 2, 0), min(c - side // 2 + side, size)) for c in range(size)]
        assert all(
            (int(a), int(b)) == (wanted[c].start, wanted[c].stop - 1)
            for a, b, c in zip(first, last, centre.tolist(), strict=True)
        )
        combined = combined * size + centre
    assert abs(chi_square(combined, height * width)) < 4.5
