"""Gradient clipping: by norm, by a percentile of recent norms, by value; nothing here waits for the device.

Not for gradients of a scaled loss: unscale them first. What was recorded with `make_fx` replays with the same bits, for
all is written as tensor operations with static shapes, and the state stays the same tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shoal.optim import foreach
from shoal.recipe.schema import Regularise

WINDOW = 100
EPSILON = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to a norm before it divides by it."""


@dataclass(frozen=True)
class Clip:
    """How gradients are clipped: with two limits of the norm the lower one holds, and values are limited after it.

    `norm`: largest norm of the gradient, all parameters together. `percentile`: the norm is clipped at this percentile
    of the last `window` norms. `value`: largest absolute value of each number. None leaves that limit out.

    >>> (clipped,), norm, was_clipped = Clip(norm=1.0).apply([torch.tensor([3.0, 4.0])], {})
    >>> clipped, norm, was_clipped
    (tensor([0.6000, 0.8000]), tensor(5.), tensor(1.))
    """

    norm: float | None = None
    value: float | None = None
    percentile: float | None = None
    window: int = WINDOW

    @classmethod
    def of(cls, regularise: Regularise) -> Clip | None:
        """Return a recipe's clipping, or None where it has none."""
        clip = cls(norm=regularise.clip_norm, value=regularise.clip_value, percentile=regularise.clip_percentile)
        return None if clip == cls() else clip

    def state(self, device: torch.device) -> dict[str, Tensor]:
        """Return what `apply` keeps, as before the first step: the norms of the window, and how many there were."""
        if self.percentile is None:
            return {}
        return {
            "norms": torch.zeros(self.window, dtype=torch.float32, device=device),
            "count": torch.zeros((), dtype=torch.int64, device=device),
        }

    @torch.no_grad()
    def apply(
        self, grads: list[Tensor], state: dict[str, Tensor], *, in_place: bool = False
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the clipped gradients, their norm before ([]), and 1.0 where anything was too large, else 0.0 ([]).

        A norm is clipped as `torch.nn.utils.clip_grad_norm_` does it, by min(1, limit / (norm + 1e-6)), and values as
        `clip_grad_value_` does. `state` is written in place, and with `in_place` so are the gradients. A norm that is
        not finite enters no window, and leaves gradients that are not finite: that update has to be skipped.
        """
        norm = foreach.total_norm(grads)
        clipped = torch.zeros_like(norm)
        limit = self._limit(norm, state)
        if limit is not None:
            clipped = (norm > limit).to(norm.dtype)
            factor = torch.clamp(limit / (norm + EPSILON), max=1.0)
            if in_place:
                foreach.multiply_(grads, factor)
            else:
                grads = foreach.multiplied(grads, factor)
        if self.value is not None:
            largest = torch.stack(foreach.norms(grads, torch.inf)).amax()
            clipped = torch.maximum(clipped, (largest > self.value).to(norm.dtype))
            if in_place:
                foreach.limit_(grads, -self.value, self.value)
            else:
                grads = foreach.limited(grads, -self.value, self.value)
        return grads, norm, clipped

    def _limit(self, norm: Tensor, state: dict[str, Tensor]) -> Tensor | None:
        """The largest norm that may pass, or None; the present norm takes its place in the window first."""
        given = None if self.norm is None else torch.full_like(norm, self.norm)
        if self.percentile is None:
            return given
        remember(norm, state)
        found = percentile(state, self.percentile)
        return found if given is None else torch.minimum(given, found)


def remember(norm: Tensor, state: dict[str, Tensor]) -> None:
    """Write a norm over the oldest one of the window, unless it is not finite."""
    norms, count = state["norms"], state["count"]
    finite = norm.isfinite()
    place = torch.arange(len(norms), device=norms.device) == count % len(norms)
    norms.copy_(torch.where(place & finite, norm, norms))
    count.add_(finite)


def percentile(state: dict[str, Tensor], q: float) -> Tensor:
    """Return the q-th percentile of the window's norms, interpolated linearly; infinite while there are none ([]).

    That is AutoClip's limit (Seetharaman et al. 2020, arXiv 2007.14469, algorithm 1): the present norm is one of those
    that it is taken of, as there, but only the last `window` are, where the paper keeps all of the training.
    """
    norms, count = state["norms"], state["count"]
    known = torch.arange(len(norms), device=norms.device) < count
    ordered = torch.where(known, norms, torch.inf).sort().values
    rank = (count.clamp(max=len(norms)) - 1).clamp(min=0) * q / 100
    below = rank.floor()
    low, high = (ordered.gather(0, at.to(torch.int64).view(1)).view(()) for at in (below, rank.ceil()))
    return torch.where(low.isfinite(), low + (high - low) * (rank - below), torch.inf)
