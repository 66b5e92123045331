"""An optimizer as a pure update, for captured steps and for stacks: what a rule is, and what rules are made of.

torch's own classes bake the learning rate into a captured graph or read it on the host, and refuse one learning rate a
run. A rule takes every hyperparameter as a number or as a tensor of one, so that `torch.func.vmap` over runs gives each
its own. A rule keeps no state: slots are passed in and come back. Numbers made of hyperparameters and of the step (bias
corrections, rectifications) are computed in float64 where the device has it, then cast to the parameters' dtype once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

Tree = dict[str, Tensor]
"""By parameter name."""
Scalar = Tensor | float
"""A hyperparameter: a number, or a tensor of one (float64 where the device has it)."""
Hyper = Mapping[str, Scalar]
"""By the recipe's key: lr, momentum, beta1, weight_decay, ..."""
aten: Any = torch.ops.aten
"""torch's operations by their own names: some that a fused update needs have no public one."""
One = Callable[..., tuple[Tensor, Tree]]
"""One parameter's update: (parameter, gradient, its slots, *scalars) to (parameter, its slots)."""


class Rule(Protocol):
    """An optimizer as a pure update."""

    @property
    def slots(self) -> tuple[str, ...]:
        """What is kept for parameters, by torch's names, without "step"; some rules keep a part of it for each."""
        ...

    @property
    def elementwise(self) -> bool:
        """Whether each number is updated on its own, so that parameters may be joined end to end into one tensor.

        Slots that have the parameter's shape are then joined with it; a slot of one number (nadam's `mu_product`) is
        one for all that are joined.
        """
        ...

    @property
    def counts(self) -> bool:
        """Whether the class keeps a "step" slot beside the others."""
        ...

    def start(self, parameter: Tensor) -> Tree:
        """Return one parameter's slots before the first step."""
        ...

    def update(
        self, params: Tree, grads: Tree, slots: Mapping[str, Tree], hyper: Hyper, step: Tensor
    ) -> tuple[Tree, dict[str, Tree]]:
        """Return parameters and slots after one update; nothing is written in place.

        `step` is a tensor of one number that counts updates from 1. Values keep their dtypes.
        """
        ...


@runtime_checkable
class Fused(Protocol):
    """A rule that torch has an in-place kernel for, which leaves everything as it is where `found_inf` is 1."""

    def fusable(self, hyper: Hyper) -> bool:
        """Whether the kernel does what `update` does with these; of tensors, it takes the learning rate alone."""
        ...

    def fused(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Mapping[str, list[Tensor]],
        hyper: Hyper,
        steps: list[Tensor],
        found_inf: Tensor,
    ) -> None:
        """Update in place, on a device of `table.FUSED_DEVICES`; `steps` are counted here, one for each parameter."""
        ...


def each(
    one: One, params: Tree, grads: Tree, slots: Mapping[str, Tree], scalars: Sequence[Scalar | None] = ()
) -> tuple[Tree, dict[str, Tree]]:
    """Update parameters one by one; scalars that are tensors come to `one` in the parameter's dtype."""
    updated: Tree = {}
    after: dict[str, Tree] = {slot: {} for slot in slots}
    cast: dict[torch.dtype, list[Scalar | None]] = {}
    for name, parameter in params.items():
        if parameter.dtype not in cast:
            cast[parameter.dtype] = [like(value, parameter) for value in scalars]
        own = {slot: tree[name] for slot, tree in slots.items() if name in tree}
        updated[name], kept = one(parameter, grads[name], own, *cast[parameter.dtype])
        for slot, value in kept.items():
            after[slot][name] = value
    return updated, after


def like(value: Scalar | None, tensor: Tensor) -> Scalar | None:
    """Return a scalar in a tensor's dtype: under vmap a scalar of each run would else widen it."""
    return value.to(tensor.dtype) if isinstance(value, Tensor) else value


def wide(step: Tensor) -> Tensor:
    """Return a count in the widest dtype that its device has: powers of beta lose digits in float32."""
    return step.to(torch.float32 if step.device.type == "mps" else torch.float64)


def zeros(parameter: Tensor, *slots: str) -> Tree:
    """Return slots of zeros in the parameter's shape and memory layout."""
    return {slot: torch.zeros_like(parameter, requires_grad=False) for slot in slots}


def off(value: Scalar) -> bool:
    """Whether a hyperparameter is known to be 0; a tensor may become anything."""
    return not isinstance(value, Tensor) and value == 0


def add_scaled(x: Tensor, y: Tensor, factor: Scalar) -> Tensor:
    """Return x + factor y in one operation."""
    return torch.addcmul(x, y, factor) if isinstance(factor, Tensor) else torch.add(x, y, alpha=factor)


def towards(x: Tensor, y: Tensor, share: Scalar) -> Tensor:
    """Return x + share (y - x) in one operation: a running mean."""
    return torch.lerp(x, y, share)


def with_l2(gradient: Tensor, parameter: Tensor, weight_decay: Scalar) -> Tensor:
    """Return the gradient with that of weight decay."""
    return gradient if off(weight_decay) else add_scaled(gradient, parameter, weight_decay)


def shrink(lr: Scalar, weight_decay: Scalar) -> Scalar | None:
    """Return what decoupled weight decay multiplies parameters by, or None where it is off."""
    return None if off(weight_decay) else 1 - lr * weight_decay


def numbers_but_lr(hyper: Hyper) -> TypeGuard[Mapping[str, Any]]:
    """Whether every hyperparameter but the learning rate is a number, as torch's fused kernels want them."""
    return not any(isinstance(value, Tensor) for key, value in hyper.items() if key != "lr")


def kernel_lr(lr: Scalar) -> Scalar:
    """Return a learning rate as fused kernels read it: those of CUDA take a tensor of float32 alone."""
    return lr.to(torch.float32) if isinstance(lr, Tensor) and lr.is_cuda else lr
