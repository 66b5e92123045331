"""AdaGrad, RMSProp and Adadelta: steps divided by the size of the gradients so far. Their classes and their rules.

Sources are with their parameters, in `recipe.optimizer_parts`; all three are as torch has them.
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
    towards,
    wide,
    with_l2,
    zeros,
)
from shoal.recipe.optimizer_parts import Adadelta, Adagrad, Rmsprop

Groups = list[dict[str, Any]]


def build_adagrad(part: Adagrad, groups: Groups, fused: bool) -> torch.optim.Optimizer:
    """Return torch's class."""
    return torch.optim.Adagrad(
        groups, lr=part.lr, lr_decay=part.lr_decay, eps=part.eps, weight_decay=part.weight_decay, fused=fused
    )


def build_rmsprop(part: Rmsprop, groups: Groups) -> torch.optim.Optimizer:
    """Return torch's class, which has no fused kernel."""
    return torch.optim.RMSprop(
        groups,
        lr=part.lr,
        alpha=part.alpha,
        eps=part.eps,
        weight_decay=part.weight_decay,
        momentum=part.momentum,
        centered=part.centered,
    )


def build_adadelta(part: Adadelta, groups: Groups) -> torch.optim.Optimizer:
    """Return torch's class, which has no fused kernel."""
    return torch.optim.Adadelta(groups, lr=part.lr, rho=part.rho, eps=part.eps, weight_decay=part.weight_decay)


@dataclass(frozen=True)
class AdagradRule:
    """The rule of `adagrad`: s += g^2; x -= lr / (1 + lr_decay (step - 1)) g / (sqrt(s) + eps)."""

    slots: tuple[str, ...] = ("sum",)
    elementwise: bool = True
    counts: bool = True

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        def one(
            x: Tensor, g: Tensor, own: Tree, minus_lr: Scalar, weight_decay: Scalar, eps: Scalar
        ) -> tuple[Tensor, Tree]:
            g = with_l2(g, x, weight_decay)
            total = torch.addcmul(own["sum"], g, g)
            return torch.addcdiv(x, g * minus_lr, total.sqrt() + eps), {"sum": total}

        lr, lr_decay = hyper["lr"], hyper["lr_decay"]
        if not off(lr_decay):
            lr = lr / (1 + (wide(step) - 1) * lr_decay)
        return each(one, params, grads, slots, (-lr, hyper["weight_decay"], hyper["eps"]))

    def fusable(self, hyper: Hyper) -> bool:
        return numbers_but_lr(hyper)

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
        aten._foreach_add_(steps, 1)
        aten._fused_adagrad_(
            params,
            grads,
            slots["sum"],
            steps,
            lr=kernel_lr(hyper["lr"]),
            lr_decay=numbers["lr_decay"],
            weight_decay=numbers["weight_decay"],
            eps=numbers["eps"],
            maximize=False,
            found_inf=found_inf,
        )
        aten._foreach_sub_(steps, [found_inf] * len(steps))


@dataclass(frozen=True)
class RmspropRule:
    """The rule of `rmsprop`: s = alpha s + (1 - alpha) g^2, without its mean's square where centered.

    x -= lr g / (sqrt(s) + eps), or lr v where there is momentum, v = momentum v + g / (sqrt(s) + eps).
    """

    momentum: bool
    centered: bool
    elementwise: bool = True
    counts: bool = True

    @classmethod
    def of(cls, part: Rmsprop) -> RmspropRule:
        """Return the rule of a recipe's part. One with momentum serves runs without it too, beside others."""
        return cls(part.momentum > 0, part.centered)

    @property
    def slots(self) -> tuple[str, ...]:
        """What is kept; the class keeps no more."""
        return (
            "square_avg",
            *(("momentum_buffer",) if self.momentum else ()),
            *(("grad_avg",) if self.centered else ()),
        )

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        def one(
            x: Tensor,
            g: Tensor,
            own: Tree,
            minus_lr: Scalar,
            weight_decay: Scalar,
            fresh: Scalar,
            eps: Scalar,
            momentum: Scalar,
        ) -> tuple[Tensor, Tree]:
            g = with_l2(g, x, weight_decay)
            square = towards(own["square_avg"], g * g, fresh)
            after, variance = {"square_avg": square}, square
            if self.centered:
                mean = towards(own["grad_avg"], g, fresh)
                after["grad_avg"], variance = mean, torch.addcmul(square, mean, mean, value=-1)
            denominator = variance.sqrt() + eps
            if not self.momentum:
                return torch.addcdiv(x, g * minus_lr, denominator), after
            v = torch.addcdiv(own["momentum_buffer"] * momentum, g, denominator)
            return add_scaled(x, v, minus_lr), {**after, "momentum_buffer": v}

        fresh = 1 - hyper["alpha"]
        scalars = (-hyper["lr"], hyper["weight_decay"], fresh, hyper["eps"], hyper["momentum"])
        return each(one, params, grads, slots, scalars)


@dataclass(frozen=True)
class AdadeltaRule:
    """The rule of `adadelta`: s = rho s + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(s + eps) g; x -= lr d.

    Then u = rho u + (1 - rho) d^2.
    """

    slots: tuple[str, ...] = ("square_avg", "acc_delta")
    elementwise: bool = True
    counts: bool = True

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        def one(
            x: Tensor, g: Tensor, own: Tree, minus_lr: Scalar, weight_decay: Scalar, fresh: Scalar, eps: Scalar
        ) -> tuple[Tensor, Tree]:
            g = with_l2(g, x, weight_decay)
            square = towards(own["square_avg"], g * g, fresh)
            delta = (own["acc_delta"] + eps).sqrt() / (square + eps).sqrt() * g
            moved = towards(own["acc_delta"], delta * delta, fresh)
            return add_scaled(x, delta, minus_lr), {"square_avg": square, "acc_delta": moved}

        return each(one, params, grads, slots, (-hyper["lr"], hyper["weight_decay"], 1 - hyper["rho"], hyper["eps"]))
