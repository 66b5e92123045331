"""Operations on lists of tensors in one call each: torch's foreach kernels, under which its own optimizers run too.

torch keeps their names private, so they are named here and nowhere else. On a GPU one kernel serves many tensors; on
the CPU it is the Python of a loop that is saved. `make_fx` records each as one operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_torch: Any = torch
Tensors = Sequence[Tensor]


def norms(tensors: Tensors, order: float = 2.0) -> list[Tensor]:
    """Return the norm of each tensor ([])."""
    return list(_torch._foreach_norm(tensors, order))


def total_norm(tensors: Tensors) -> Tensor:
    """Return the norm of all numbers together ([]): the norm of the tensors' norms, as torch's clipping takes it."""
    return _torch.linalg.vector_norm(torch.stack(norms(tensors)))


def multiplied(tensors: Tensors, factor: Tensor) -> list[Tensor]:
    """Return the tensors times a factor ([])."""
    return list(_torch._foreach_mul(tensors, factor))


def multiply_(tensors: Tensors, factor: Tensor) -> None:
    """Multiply the tensors by a factor ([]), in place."""
    _torch._foreach_mul_(tensors, factor)


def limited(tensors: Tensors, low: float, high: float) -> list[Tensor]:
    """Return the tensors with every number between two bounds."""
    within: list[Tensor] = list(_torch._foreach_clamp_min(tensors, low))
    _torch._foreach_clamp_max_(within, high)
    return within


def limit_(tensors: Tensors, low: float, high: float) -> None:
    """Bring every number between two bounds, in place."""
    _torch._foreach_clamp_min_(tensors, low)
    _torch._foreach_clamp_max_(tensors, high)


def added(tensors: Tensors, others: Tensors) -> list[Tensor]:
    """Return the sums of the tensors, pair by pair."""
    return list(_torch._foreach_add(tensors, others))


def add_(tensors: Tensors, others: Tensors) -> None:
    """Add the others to the tensors, pair by pair, in place."""
    _torch._foreach_add_(tensors, others)


def copy_(tensors: Tensors, others: Tensors) -> None:
    """Copy the others into the tensors, pair by pair."""
    _torch._foreach_copy_(tensors, others)


def moved(tensors: Tensors, others: Tensors, share: float | Tensor) -> list[Tensor]:
    """Return the tensors moved a share of the way to the others, pair by pair: tensors + share (others - tensors)."""
    if _is(share, 0.0) or _is(share, 1.0):
        return [tensor.clone() for tensor in (others if share else tensors)]
    return list(_torch._foreach_lerp(tensors, others, _weight(tensors, share)))


def move_(tensors: Tensors, others: Tensors, share: float | Tensor) -> None:
    """Move the tensors a share of the way to the others, pair by pair, in place."""
    if _is(share, 1.0):
        copy_(tensors, others)
    elif not _is(share, 0.0):
        _torch._foreach_lerp_(tensors, others, _weight(tensors, share))


def _is(share: float | Tensor, number: float) -> bool:
    """Whether a share is a number of Python's, and this one: a tensor is not looked at."""
    return not isinstance(share, Tensor) and share == number


def _weight(tensors: Tensors, share: float | Tensor) -> float | list[Tensor]:
    """A share as the kernels take it: a tensor once for each, since one for all would be read on the host."""
    if not isinstance(share, Tensor):
        return share
    cast = {kind: share.to(*kind) for kind in {(tensor.device, tensor.dtype) for tensor in tensors}}
    return [cast[tensor.device, tensor.dtype] for tensor in tensors]
