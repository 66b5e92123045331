"""Adam, AdamW and Demon Adam: their classes and their rules. What else came of Adam is in `adam_kin`.

m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; x -= lr m' / (sqrt(v') + eps), where
m' = m / (1 - beta1^step) and v' = v / (1 - beta2^step) (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1).
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
    shrink,
    towards,
    wide,
    with_l2,
    zeros,
)
from shoal.optim.rule_optimizer import RuleOptimizer
from shoal.recipe.optimizer_parts import Adam, AdamPart, Adamw, DemonAdam

Groups = list[dict[str, Any]]

DECOUPLED = ("adamw",)
"""Entries whose weight decay shrinks weights, instead of being added to the gradient."""


def build(part: Adam | Adamw, groups: Groups, fused: bool) -> torch.optim.Optimizer:
    """Return torch's class."""
    cls = torch.optim.AdamW if part.name in DECOUPLED else torch.optim.Adam
    return cls(
        groups,
        lr=part.lr,
        betas=(part.beta1, part.beta2),
        eps=part.eps,
        weight_decay=part.weight_decay,
        fused=fused,
    )


def build_demon(part: DemonAdam, groups: Groups) -> torch.optim.Optimizer:
    """Return the rule as an optimizer: torch has no such class."""
    return RuleOptimizer(groups, [DemonAdamRule()] * len(groups), hyper_of(part))


def hyper_of(part: AdamPart) -> dict[str, float]:
    """Return the hyperparameters of Adam and its kin."""
    return {key: getattr(part, key) for key in ("lr", "beta1", "beta2", "eps", "weight_decay")}


@dataclass(frozen=True)
class AdamRule:
    """The rule of `adam` and of `adamw`."""

    decoupled: bool
    slots: tuple[str, ...] = ("exp_avg", "exp_avg_sq")
    elementwise: bool = True
    counts: bool = True

    @classmethod
    def of(cls, part: AdamPart) -> AdamRule:
        """Return the rule of a recipe's part."""
        return cls(part.name in DECOUPLED)

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        def one(
            x: Tensor,
            g: Tensor,
            own: Tree,
            kept: Scalar | None,
            weight_decay: Scalar,
            fresh1: Scalar,
            fresh2: Scalar,
            minus_size: Tensor,
            eps: Tensor,
        ) -> tuple[Tensor, Tree]:
            if not self.decoupled:
                g = with_l2(g, x, weight_decay)
            elif kept is not None:
                x = x * kept
            mean = towards(own["exp_avg"], g, fresh1)
            square = towards(own["exp_avg_sq"], g * g, fresh2)
            return torch.addcdiv(x, mean * minus_size, square.sqrt() + eps), {"exp_avg": mean, "exp_avg_sq": square}

        t = wide(step)
        lr, decay, beta1, beta2 = hyper["lr"], hyper["weight_decay"], hyper["beta1"], hyper["beta2"]
        root = (1 - beta2**t).sqrt()
        size = lr * root / (1 - beta1**t)
        kept = shrink(lr, decay) if self.decoupled else None
        scalars = (kept, decay, 1 - beta1, 1 - beta2, -size, hyper["eps"] * root)
        return each(one, params, grads, slots, scalars)

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
        kernel = aten._fused_adamw_ if self.decoupled else aten._fused_adam_
        aten._foreach_add_(steps, 1)
        kernel(
            params,
            grads,
            slots["exp_avg"],
            slots["exp_avg_sq"],
            [],
            steps,
            lr=kernel_lr(hyper["lr"]),
            beta1=numbers["beta1"],
            beta2=numbers["beta2"],
            weight_decay=numbers["weight_decay"],
            eps=numbers["eps"],
            amsgrad=False,
            maximize=False,
            found_inf=found_inf,
        )
        aten._foreach_sub_(steps, [found_inf] * len(steps))


@dataclass(frozen=True)
class DemonAdamRule:
    """The rule of `demon_adam`: m = beta1 m + g, a sum; x -= lr m / (sqrt(v') + eps), v' Adam's (arXiv 1910.04952).

    beta1 decays by its schedule, not in here.
    """

    slots: tuple[str, ...] = ("exp_avg", "exp_avg_sq")
    elementwise: bool = True
    counts: bool = True

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        def one(
            x: Tensor,
            g: Tensor,
            own: Tree,
            weight_decay: Scalar,
            beta1: Scalar,
            fresh2: Scalar,
            minus_size: Tensor,
            eps: Tensor,
        ) -> tuple[Tensor, Tree]:
            g = with_l2(g, x, weight_decay)
            total = add_scaled(g, own["exp_avg"], beta1)
            square = towards(own["exp_avg_sq"], g * g, fresh2)
            return torch.addcdiv(x, total * minus_size, square.sqrt() + eps), {"exp_avg": total, "exp_avg_sq": square}

        beta2 = hyper["beta2"]
        root = (1 - beta2 ** wide(step)).sqrt()
        scalars = (hyper["weight_decay"], hyper["beta1"], 1 - beta2, -hyper["lr"] * root, hyper["eps"] * root)
        return each(one, params, grads, slots, scalars)
