"""Each call on a list is the same call on each of its tensors, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shoal.optim import foreach


def tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((4, 3), (), (7,), (1, 1, 2))]


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("order", [1.0, 2.0, torch.inf])
def test_norms(order: float) -> None:
    assert same(foreach.norms(tensors(0), order), [torch.linalg.vector_norm(value, order) for value in tensors(0)])


def test_the_total_norm_is_that_of_all_numbers() -> None:
    every = torch.cat([value.flatten() for value in tensors(0)]).double()
    assert foreach.total_norm(tensors(0)).item() == pytest.approx(every.norm().item(), rel=1e-6)


def test_products_sums_and_bounds() -> None:
    a, b, factor = tensors(0), tensors(1), torch.tensor(0.3)
    assert same(foreach.multiplied(a, factor), [value * factor for value in a])
    assert same(foreach.added(a, b), [x + y for x, y in zip(a, b, strict=True)])
    assert same(foreach.limited(a, -0.5, 0.4), [value.clamp(-0.5, 0.4) for value in a])
    assert same(a, tensors(0))


def test_in_place_they_write_the_same() -> None:
    a, b, factor = tensors(0), tensors(1), torch.tensor(0.3)
    foreach.multiply_(a, factor)
    assert same(a, foreach.multiplied(tensors(0), factor))
    foreach.add_(a, b)
    assert same(a, foreach.added(foreach.multiplied(tensors(0), factor), b))
    foreach.limit_(b, -0.5, 0.4)
    assert same(b, foreach.limited(tensors(1), -0.5, 0.4))
    foreach.copy_(a, b)
    assert same(a, b)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.7, 1.0, torch.tensor(0.25), torch.tensor(0.7, dtype=torch.float64)])
def test_a_move_is_a_lerp(share: float | Tensor) -> None:
    number = float(share)
    a, b = tensors(0), tensors(1)
    expected = [x.lerp(y, number) for x, y in zip(a, b, strict=True)]
    assert same(foreach.moved(a, b, share), expected)
    assert same(a, tensors(0))
    foreach.move_(a, b, share)
    assert same(a, expected)
