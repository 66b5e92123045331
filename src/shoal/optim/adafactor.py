"""Adafactor: its class and its rule, as torch has it (arXiv 1804.04235, algorithms 4 and 5, with lr as a bound).

For a matrix, R and C are running means of g^2 over columns and over rows, weighed by step^beta2_decay, and
V = R C / mean(R); for a vector V is the running mean of g^2. u = g / sqrt(V), x -= a u / max(1, rms(u) / clip) where
a = max(eps2, rms(x)) min(lr, 1 / sqrt(step)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shoal.optim.rule import Hyper, Scalar, Tree, each, shrink, towards, wide, zeros
from shoal.recipe.optimizer_parts import Adafactor

Groups = list[dict[str, Any]]


def build(part: Adafactor, groups: Groups) -> torch.optim.Optimizer:
    """Return torch's class, which reads two norms of each parameter on the host in every step.

    It is left at its loop over parameters: all at once (foreach) needs the memory that Adafactor is chosen to save.
    """
    return torch.optim.Adafactor(
        groups,
        lr=part.lr,
        beta2_decay=part.beta2_decay,
        eps=(part.eps1, part.eps2),
        d=part.clip,
        weight_decay=part.weight_decay,
    )


@dataclass(frozen=True)
class AdafactorRule:
    """The rule of `adafactor`, which leaves the norms on the device."""

    eps1: float | None
    slots: tuple[str, ...] = ("row_var", "col_var", "variance")
    elementwise: bool = False
    counts: bool = True

    @classmethod
    def of(cls, part: Adafactor) -> AdafactorRule:
        """Return the rule of a recipe's part."""
        return cls(part.eps1)

    def start(self, parameter: Tensor) -> Tree:
        if parameter.ndim < 2:
            return zeros(parameter, "variance")
        rows, columns = (*parameter.shape[:-1], 1), (*parameter.shape[:-2], 1, parameter.shape[-1])
        return {"row_var": parameter.detach().new_zeros(rows), "col_var": parameter.detach().new_zeros(columns)}

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        t, lr = wide(step), hyper["lr"]
        largest = t.rsqrt().minimum(lr.to(t.dtype)) if isinstance(lr, Tensor) else t.rsqrt().clamp(max=lr)

        def one(
            x: Tensor,
            g: Tensor,
            own: Tree,
            kept: Scalar | None,
            fresh: Scalar,
            minus_largest: Tensor,
            eps2: Scalar,
            clip: Scalar,
        ) -> tuple[Tensor, Tree]:
            least = torch.finfo(x.dtype).eps if self.eps1 is None else self.eps1
            size = _rms(x).clamp(min=eps2) * minus_largest
            moment, after = _moment(g, own, fresh, least)
            u = g * moment.clamp(min=least * least).rsqrt()
            x = x if kept is None else x * kept
            return torch.addcmul(x, u, size / (_rms(u) / clip).clamp(min=1.0)), after

        scalars = (shrink(lr, hyper["weight_decay"]), t ** hyper["beta2_decay"], -largest, hyper["eps2"], hyper["clip"])
        return each(one, params, grads, slots, scalars)


def _moment(g: Tensor, own: Tree, fresh: Scalar, least: float) -> tuple[Tensor, Tree]:
    """The second moment of a gradient, factored where it has two axes or more, and what is kept of it."""
    square = g * g
    if g.ndim < 2:
        variance = towards(own["variance"], square, fresh)
        return variance, {"variance": variance}
    rows = towards(own["row_var"], square.mean(-1, keepdim=True), fresh)
    columns = towards(own["col_var"], square.mean(-2, keepdim=True), fresh)
    return rows * columns / rows.mean(-2, keepdim=True).clamp(min=least), {"row_var": rows, "col_var": columns}


def _rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()
