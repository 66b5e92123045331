"""Lion: its class and its rule. c = beta1 m + (1 - beta1) g; x -= lr (sign(c) + decay x); m = beta2 m + (1 - beta2) g.

Chen et al. 2023, arXiv 2302.06675, algorithm 2. As in torch's AdamW, the decay comes before the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shoal.optim.rule import Hyper, Scalar, Tree, add_scaled, each, shrink, towards, zeros
from shoal.optim.rule_optimizer import RuleOptimizer
from shoal.recipe.optimizer_parts import Lion

Groups = list[dict[str, Any]]


def build(part: Lion, groups: Groups) -> torch.optim.Optimizer:
    """Return the rule as an optimizer: torch has no such class."""
    hyper = {key: getattr(part, key) for key in ("lr", "beta1", "beta2", "weight_decay")}
    return RuleOptimizer(groups, [LionRule()] * len(groups), hyper)


@dataclass(frozen=True)
class LionRule:
    """The rule of `lion`."""

    slots: tuple[str, ...] = ("exp_avg",)
    elementwise: bool = True
    counts: bool = True

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        def one(
            x: Tensor, g: Tensor, own: Tree, minus_lr: Scalar, kept: Scalar | None, fresh1: Scalar, fresh2: Scalar
        ) -> tuple[Tensor, Tree]:
            direction = towards(own["exp_avg"], g, fresh1).sign()
            x = x if kept is None else x * kept
            return add_scaled(x, direction, minus_lr), {"exp_avg": towards(own["exp_avg"], g, fresh2)}

        lr = hyper["lr"]
        scalars = (-lr, shrink(lr, hyper["weight_decay"]), 1 - hyper["beta1"], 1 - hyper["beta2"])
        return each(one, params, grads, slots, scalars)
