"""Sharpness-aware minimisation: the step uphill after which a second gradient is taken.

Foret et al. 2020, arXiv 2010.01412, algorithm 1: the weights w go to w + rho g / ||g||, the gradient is taken there,
and the optimizer makes its update with that gradient at w. Only the case p = 2 of equation 2 is here.

Weights are put back from copies: what is added and then subtracted again is off by a rounding.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from shoal.optim import foreach

EPSILON = 1e-12
"""Keeps a gradient of zeros from becoming NaN: it goes nowhere."""


@torch.no_grad()
def ascent(grads: list[Tensor], rho: float) -> list[Tensor]:
    """Return the step uphill, rho g / (||g|| + 1e-12), the norm over all parameters together.

    The scale of a scaled loss cancels out, and an infinite gradient gives NaN.

    >>> ascent([torch.tensor([3.0]), torch.tensor([4.0])], rho=0.5)
    [tensor([0.3000]), tensor([0.4000])]
    """
    return foreach.multiplied(grads, rho / (foreach.total_norm(grads) + EPSILON))


@torch.no_grad()
def climbed(weights: Sequence[Tensor], steps: Sequence[Tensor]) -> list[Tensor]:
    """Return weights + steps as new tensors: for a functional step, which simply keeps its weights."""
    return foreach.added(weights, steps)


@contextmanager
def climbing(
    parameters: Sequence[Tensor], steps: Sequence[Tensor], *, keeping: Sequence[Tensor] = ()
) -> Generator[None]:
    """Add the steps to the parameters in place, and give each its own bits back at the end, whatever happens.

    So do the tensors in `keeping`: a model's buffers, whose statistics are those of the weights and not of the place
    uphill.
    """
    with torch.no_grad():
        changed = [*parameters, *keeping]
        kept = [value.detach().clone() for value in changed]
        foreach.add_(parameters, steps)
    try:
        yield
    finally:
        with torch.no_grad():
            foreach.copy_(changed, kept)
