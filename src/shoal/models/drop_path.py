"""DropPath, or stochastic depth: a residual branch is left out for some examples of a batch while training.

Huang et al. 2016, "Deep Networks with Stochastic Depth", arXiv 1603.09382. Branch l of L is left out with probability
rate * l / L (equation 4), and what remains is divided by the probability of staying, so that evaluation, which leaves
out nothing, needs no correction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Set a branch [B, ...] to 0 with probability `rate` for each example, and divide it by 1 - rate otherwise.

    `rate` is a float, or a tensor [] where a stack of runs has several. Draws come from torch's global generator, as
    those of dropout do. In eval mode it does nothing.
    """

    def __init__(self, rate: float | Tensor) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        staying = 1.0 - self.rate
        drawn = torch.rand((len(x), *[1] * (x.ndim - 1)), device=x.device)
        return x * ((drawn < staying) / staying).to(x.dtype)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def drop_path(rate: float, number: int, of: int) -> nn.Module:
    """Return what branch `number`, from 1, of `of` branches goes through; at rate 0 that is nothing, and draws nothing.

    >>> drop_path(0.2, 1, 4), drop_path(0.2, 4, 4), drop_path(0.0, 4, 4)
    (DropPath(rate=0.05), DropPath(rate=0.2), Identity())
    """
    return DropPath(rate * number / of) if rate > 0 else nn.Identity()
