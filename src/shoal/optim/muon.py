"""Muon: momentum made orthogonal, for matrices; AdamW for whatever else a network has. Its class and its rules.

m = momentum m + (1 - momentum) g; u = g + momentum (m - g) with Nesterov's momentum, else m; x -= lr decay x, then
x -= lr s O(u), where O replaces the singular values of u by about 1 (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon) and s is the scale of `adjust_lr` (arXiv 2502.16982, equation 4). O is a few
iterations of a polynomial whose coefficients push singular values into [0.7, 1.2] soon, not to 1 exactly. Matrices of
one shape are iterated together, as one batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from shoal.optim.adam import AdamRule
from shoal.optim.rule import Hyper, Scalar, Tree, add_scaled, each, shrink, towards, zeros
from shoal.optim.rule_optimizer import RuleOptimizer
from shoal.recipe.optimizer_parts import Muon

Groups = list[dict[str, Any]]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of x, x^3 and x^5, chosen by Jordan for the steepest slope at 0."""
LEAST_NORM = 1e-7
"""What a matrix is divided by at least, so that one of zeros stays so."""
REST = "rest"
"""Mark of the parameter groups that AdamW updates."""


def build(part: Muon, groups: Groups) -> torch.optim.Optimizer:
    """Return the rules as an optimizer: torch's Muon takes matrices alone, one after the other."""
    hyper = {key: getattr(part, key) for key in ("lr", "weight_decay", "momentum", *AdamwOfRest.KEYS.values())}
    rules = [AdamwOfRest() if group.get(REST) else MuonRule.of(part) for group in groups]
    return RuleOptimizer(groups, rules, hyper)


@dataclass(frozen=True)
class MuonRule:
    """The rule of `muon` for its matrices; `AdamwOfRest` is that of the rest."""

    nesterov: bool
    iterations: int
    dtype: torch.dtype
    adjust_lr: str
    slots: tuple[str, ...] = ("momentum_buffer",)
    elementwise: bool = False
    counts: bool = True

    @classmethod
    def of(cls, part: Muon) -> MuonRule:
        """Return the rule of a recipe's part."""
        return cls(part.nesterov, part.iterations, getattr(torch, part.matmul), part.adjust_lr)

    def start(self, parameter: Tensor) -> Tree:
        assert parameter.ndim > 1, "what is no matrix goes to AdamwOfRest"
        return zeros(parameter, *self.slots)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        lr, momentum = hyper["lr"], hyper["momentum"]

        def mix(_x: Tensor, g: Tensor, own: Tree, momentum: Scalar, fresh: Scalar) -> tuple[Tensor, Tree]:
            buffer = towards(own["momentum_buffer"], g, fresh)
            return towards(g, buffer, momentum) if self.nesterov else buffer, {"momentum_buffer": buffer}

        mixed, after = each(mix, params, grads, slots, (momentum, 1 - momentum))
        directions = self._orthogonal(mixed)

        def move(x: Tensor, direction: Tensor, own: Tree, kept: Scalar | None, minus_lr: Scalar) -> tuple[Tensor, Tree]:
            return add_scaled(x if kept is None else x * kept, direction, minus_lr), own

        moved, _ = each(move, params, directions, {}, (shrink(lr, hyper["weight_decay"]), -lr))
        return moved, after

    def _orthogonal(self, mixed: Tree) -> Tree:
        """Each tensor's orthogonal direction, scaled; those of one shape as [rows, columns] in one batch."""
        alike: dict[tuple[int, int], list[str]] = {}
        for name, value in mixed.items():
            alike.setdefault((len(value), math.prod(value.shape[1:])), []).append(name)
        found: Tree = {}
        for (rows, columns), names in alike.items():
            batch = torch.stack([mixed[name].reshape(rows, columns) for name in names])
            scaled = newton_schulz(batch, self.iterations, self.dtype) * self._scale(rows, columns)
            for name, direction in zip(names, scaled.unbind(), strict=True):
                found[name] = direction.to(mixed[name].dtype).reshape(mixed[name].shape)
        return found

    def _scale(self, rows: int, columns: int) -> float:
        if self.adjust_lr == "match_rms_adamw":
            return 0.2 * math.sqrt(max(rows, columns))
        return math.sqrt(max(1, rows / columns)) if self.adjust_lr == "original" else 1.0


@dataclass(frozen=True)
class AdamwOfRest:
    """AdamW with the keys that Muon has for it."""

    KEYS: ClassVar[dict[str, str]] = {
        "lr": "adamw_lr",
        "beta1": "adamw_beta1",
        "beta2": "adamw_beta2",
        "eps": "adamw_eps",
    }
    """AdamW's keys, and what Muon calls them; its learning rate is a multiple of Muon's."""

    adamw: ClassVar[AdamRule] = AdamRule(decoupled=True)
    slots: tuple[str, ...] = adamw.slots
    elementwise: bool = True
    counts: bool = True

    def start(self, parameter: Tensor) -> Tree:
        return self.adamw.start(parameter)

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        return self.adamw.update(params, grads, slots, self._hyper(hyper), step)

    def fusable(self, hyper: Hyper) -> bool:
        return self.adamw.fusable(self._hyper(hyper))

    def fused(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Mapping[str, list[Tensor]],
        hyper: Hyper,
        steps: list[Tensor],
        found_inf: Tensor,
    ) -> None:
        self.adamw.fused(params, grads, slots, self._hyper(hyper), steps, found_inf)

    def _hyper(self, hyper: Hyper) -> Hyper:
        own = {key: hyper[name] for key, name in self.KEYS.items()}
        return {**own, "lr": hyper["lr"] * own["lr"], "weight_decay": hyper["weight_decay"]}


def newton_schulz(batch: Tensor, iterations: int, dtype: torch.dtype) -> Tensor:
    """Return matrices [B, rows, columns] with their singular values pushed to about 1, in `dtype`."""
    a, b, c = COEFFICIENTS
    tall = batch.shape[-2] > batch.shape[-1]
    with torch.autocast(batch.device.type, enabled=False):  # it would choose the precision of the products
        norm = batch.square().sum((-2, -1), keepdim=True).sqrt()
        x = ((batch.mT if tall else batch) / norm.clamp(min=LEAST_NORM)).to(dtype)
        for _ in range(iterations):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x.mT if tall else x
