"""NAdam, RAdam and Adamax: their classes and their rules, as torch has them.

Sources are with their parameters, in `recipe.optimizer_parts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shoal.optim.rule import Hyper, Scalar, Tree, each, shrink, towards, wide, with_l2, zeros
from shoal.recipe.optimizer_parts import Adamax, Nadam, Radam

Groups = list[dict[str, Any]]

MU_BASE = 0.96
"""Of NAdam's warm-up of momentum (Dozat 2016): mu = beta1 (1 - 0.96^(psi step) / 2)."""
RECTIFIED_FROM = 5.0
"""Length of the average from which RAdam's variance is known: 4 in arXiv 1908.03265, 5 in torch."""


def build_nadam(part: Nadam, groups: Groups) -> torch.optim.Optimizer:
    """Return torch's class, which has no fused kernel."""
    return torch.optim.NAdam(
        groups,
        lr=part.lr,
        betas=(part.beta1, part.beta2),
        eps=part.eps,
        weight_decay=part.weight_decay,
        momentum_decay=part.momentum_decay,
        decoupled_weight_decay=part.decoupled,
    )


def build_radam(part: Radam, groups: Groups) -> torch.optim.Optimizer:
    """Return torch's class, which has no fused kernel."""
    return torch.optim.RAdam(
        groups,
        lr=part.lr,
        betas=(part.beta1, part.beta2),
        eps=part.eps,
        weight_decay=part.weight_decay,
        decoupled_weight_decay=part.decoupled,
    )


def build_adamax(part: Adamax, groups: Groups) -> torch.optim.Optimizer:
    """Return torch's class, which has no fused kernel."""
    return torch.optim.Adamax(
        groups, lr=part.lr, betas=(part.beta1, part.beta2), eps=part.eps, weight_decay=part.weight_decay
    )


@dataclass(frozen=True)
class NadamRule:
    """The rule of `nadam`: x -= lr (mu' m / (1 - mu' P) + (1 - mu) g / (1 - P)) / (sqrt(v') + eps).

    mu is this step's momentum, mu' the next one's, P the product of all mu so far; m, v and v' are Adam's. P is a slot
    of one number, float32 as in torch's class.
    """

    decoupled: bool
    slots: tuple[str, ...] = ("mu_product", "exp_avg", "exp_avg_sq")
    elementwise: bool = True
    counts: bool = True

    @classmethod
    def of(cls, part: Nadam) -> NadamRule:
        """Return the rule of a recipe's part."""
        return cls(part.decoupled)

    def start(self, parameter: Tensor) -> Tree:
        product = torch.ones((), dtype=torch.float32, device=parameter.device)
        return {"mu_product": product, **zeros(parameter, "exp_avg", "exp_avg_sq")}

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        t = wide(step)
        lr, beta1, beta2, psi = hyper["lr"], hyper["beta1"], hyper["beta2"], hyper["momentum_decay"]
        mu = beta1 * (1 - 0.5 * MU_BASE ** (t * psi))
        following = beta1 * (1 - 0.5 * MU_BASE ** ((t + 1) * psi))
        root = (1 - beta2**t).sqrt()
        by_gradient, by_mean = -lr * (1 - mu) * root, -lr * following * root

        def one(
            x: Tensor,
            g: Tensor,
            own: Tree,
            kept: Scalar | None,
            weight_decay: Scalar,
            fresh1: Scalar,
            fresh2: Scalar,
            eps: Tensor,
        ) -> tuple[Tensor, Tree]:
            if not self.decoupled:
                g = with_l2(g, x, weight_decay)
            elif kept is not None:
                x = x * kept
            product = (own["mu_product"] * mu).to(own["mu_product"].dtype)
            precise = product.to(t.dtype)
            mean = towards(own["exp_avg"], g, fresh1)
            square = towards(own["exp_avg_sq"], g * g, fresh2)
            ahead = mean * (by_mean / (1 - precise * following)).to(x.dtype)
            direction = torch.addcmul(ahead, g, (by_gradient / (1 - precise)).to(x.dtype))
            after = {"mu_product": product, "exp_avg": mean, "exp_avg_sq": square}
            return torch.addcdiv(x, direction, square.sqrt() + eps), after

        kept = shrink(lr, hyper["weight_decay"]) if self.decoupled else None
        scalars = (kept, hyper["weight_decay"], 1 - beta1, 1 - beta2, hyper["eps"] * root)
        return each(one, params, grads, slots, scalars)


@dataclass(frozen=True)
class RadamRule:
    """The rule of `radam`: x -= lr m' r sqrt(1 - beta2^step) / (sqrt(v) + eps), or lr m' while the variance is unknown.

    r = sqrt((rho - 4)(rho - 2) R / ((R - 4)(R - 2) rho)), where R = 2 / (1 - beta2) - 1 and
    rho = R - 2 step beta2^step / (1 - beta2^step).
    """

    decoupled: bool
    slots: tuple[str, ...] = ("exp_avg", "exp_avg_sq")
    elementwise: bool = True
    counts: bool = True

    @classmethod
    def of(cls, part: Radam) -> RadamRule:
        """Return the rule of a recipe's part."""
        return cls(part.decoupled)

    def start(self, parameter: Tensor) -> Tree:
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        t = wide(step)
        lr, beta1, beta2 = hyper["lr"], hyper["beta1"], hyper["beta2"]
        power = beta2**t
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * power / (1 - power)
        known = length > RECTIFIED_FROM
        ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        adaptive = torch.where(known, ratio.clamp(min=0).sqrt() * (1 - power).sqrt(), torch.zeros_like(t))
        plain = torch.where(known, torch.zeros_like(t), torch.ones_like(t))

        def one(
            x: Tensor,
            g: Tensor,
            own: Tree,
            kept: Scalar | None,
            weight_decay: Scalar,
            fresh1: Scalar,
            fresh2: Scalar,
            eps: Scalar,
            minus_size: Tensor,
            adaptive: Tensor,
            plain: Tensor,
        ) -> tuple[Tensor, Tree]:
            if not self.decoupled:
                g = with_l2(g, x, weight_decay)
            elif kept is not None:
                x = x * kept
            mean = towards(own["exp_avg"], g, fresh1)
            square = towards(own["exp_avg_sq"], g * g, fresh2)
            share = adaptive / (square.sqrt() + eps) + plain
            return torch.addcmul(x, mean * minus_size, share), {"exp_avg": mean, "exp_avg_sq": square}

        kept = shrink(lr, hyper["weight_decay"]) if self.decoupled else None
        minus_size = -lr / (1 - beta1**t)
        scalars = (kept, hyper["weight_decay"], 1 - beta1, 1 - beta2, hyper["eps"], minus_size, adaptive, plain)
        return each(one, params, grads, slots, scalars)


@dataclass(frozen=True)
class AdamaxRule:
    """The rule of `adamax`: u = max(beta2 u, |g| + eps); x -= lr / (1 - beta1^step) m / u, m Adam's."""

    slots: tuple[str, ...] = ("exp_avg", "exp_inf")
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
            fresh1: Scalar,
            beta2: Scalar,
            eps: Scalar,
            minus_size: Tensor,
        ) -> tuple[Tensor, Tree]:
            g = with_l2(g, x, weight_decay)
            mean = towards(own["exp_avg"], g, fresh1)
            largest = torch.maximum(own["exp_inf"] * beta2, g.abs() + eps)
            return torch.addcdiv(x, mean * minus_size, largest), {"exp_avg": mean, "exp_inf": largest}

        beta1 = hyper["beta1"]
        minus_size = -hyper["lr"] / (1 - beta1 ** wide(step))
        scalars = (hyper["weight_decay"], 1 - beta1, hyper["beta2"], hyper["eps"], minus_size)
        return each(one, params, grads, slots, scalars)
