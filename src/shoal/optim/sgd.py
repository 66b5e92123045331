"""Stochastic gradient descent with momentum, Nesterov's momentum and dampening: its class and its rule.

As torch has it: v = momentum v + (1 - dampening) g, but v = g at the first step; x -= lr v, or lr (g + momentum v) with
Nesterov's momentum (Sutskever et al. 2013). Where momentum is a tensor that passes through exactly 0, the rule's buffer
goes on from the last gradient, and torch's class sets its own aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shoal.optim.rule import (
    Hyper,
    Scalar,
    Tree,
    add_scaled,
    aten,
    each,
    kernel_lr,
    numbers_but_lr,
    off,
    wide,
    with_l2,
    zeros,
)
from shoal.recipe.optimizer_parts import Sgd

Groups = list[dict[str, Any]]


def build(part: Sgd, groups: Groups, fused: bool) -> torch.optim.Optimizer:
    """Return torch's class; its buffers are there from the start where it is fused.

    torch (2.13) makes them at the first step, uninitialised, for the kernel to fill: where that step is skipped by
    `found_inf`, they stay what they were. Zeros say the same without dampening; with it, the first step differs, so
    that the class is not fused.
    """
    fused = fused and not (part.momentum and part.dampening)
    optimizer = torch.optim.SGD(
        groups,
        lr=part.lr,
        momentum=part.momentum,
        dampening=part.dampening,
        weight_decay=part.weight_decay,
        nesterov=part.nesterov and part.momentum > 0,
        fused=fused,
    )
    if fused and part.momentum:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter].update(zeros(parameter, "momentum_buffer"))
    return optimizer


@dataclass(frozen=True)
class SgdRule:
    """The rule of `sgd`."""

    momentum: bool
    nesterov: bool
    elementwise: bool = True
    counts: bool = False

    @classmethod
    def of(cls, part: Sgd) -> SgdRule:
        """Return the rule of a recipe's part. One with momentum serves runs without it too, beside others."""
        return cls(part.momentum > 0, part.nesterov)

    @property
    def slots(self) -> tuple[str, ...]:
        """The momentum, where there is any."""
        return ("momentum_buffer",) if self.momentum else ()

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        moves = self.momentum and not off(hyper["momentum"])

        def one(
            x: Tensor, g: Tensor, own: Tree, minus_lr: Scalar, weight_decay: Scalar, momentum: Scalar, fresh: Scalar
        ) -> tuple[Tensor, Tree]:
            g = with_l2(g, x, weight_decay)
            if not moves:
                return add_scaled(x, g, minus_lr), own
            v = add_scaled(g if _whole(fresh) else g * fresh, own["momentum_buffer"], momentum)
            direction = add_scaled(g, v, momentum) if self.nesterov else v
            return add_scaled(x, direction, minus_lr), {"momentum_buffer": v}

        fresh = _fresh(hyper, step) if moves else 1.0
        return each(one, params, grads, slots, (-hyper["lr"], hyper["weight_decay"], hyper["momentum"], fresh))

    def fusable(self, hyper: Hyper) -> bool:
        return numbers_but_lr(hyper) and (off(hyper["momentum"]) or off(hyper["dampening"]))

    def fused(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Mapping[str, list[Tensor]],
        hyper: Hyper,
        steps: list[Tensor],
        found_inf: Tensor,
    ) -> None:
        numbers: Any = hyper
        aten._fused_sgd_(
            params,
            grads,
            [] if off(hyper["momentum"]) else slots["momentum_buffer"],
            lr=kernel_lr(hyper["lr"]),
            weight_decay=numbers["weight_decay"],
            momentum=numbers["momentum"],
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
            is_first_step=False,
            found_inf=found_inf,
        )


def _whole(fresh: Scalar) -> bool:
    """Whether a gradient comes whole into the momentum."""
    return not isinstance(fresh, Tensor) and fresh == 1


def _fresh(hyper: Hyper, step: Tensor) -> Scalar:
    """The share of a gradient that comes into the momentum: all of it at the first step, and where momentum is 0."""
    dampening, momentum = hyper["dampening"], hyper["momentum"]
    if off(dampening):
        return 1.0
    whole = step == 1
    if isinstance(momentum, Tensor):
        whole = whole | (momentum == 0)
    one = torch.ones_like(wide(step))
    return torch.where(whole, one, one - dampening)
