"""The vectors of spectral norms, computed anew for given weights: for averages, which were never trained with.

The mean of unit vectors is shorter than 1, and a weight's largest singular value taken along it too small. Not for a
training step: whether the vectors have settled is read on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import _SpectralNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm

Tree = dict[str, Tensor]

SETTLED = 1e-6
"""The largest singular value has been found where an iteration changes it by no more than this share."""
MOST = 200
"""Iterations after which it is taken as it is."""


class _Norm(NamedTuple):
    """A spectral norm: the parameter that it divides, its two vectors, and what makes the parameter a matrix."""

    original: Tensor
    u: Tensor
    v: Tensor
    matrix: Callable[[Tensor], Tensor]
    eps: float


@torch.no_grad()
def spectral_vectors(model: nn.Module, weights: Mapping[str, Tensor]) -> Tree:
    """Return the vectors u and v of a model's spectral norms for given weights, by the names of their buffers.

    By power iteration (arXiv 1802.05957, algorithm 1) from the model's own vectors, until the largest singular value
    has settled. The tensors are new, and the model is left alone; without spectral norms there are none.
    """
    first = {id(value): name for name, value in (*model.named_parameters(), *model.named_buffers())}
    found: Tree = {}
    for norm in _norms(model):
        matrix = norm.matrix(weights.get(first[id(norm.original)], norm.original))
        found[first[id(norm.u)]], found[first[id(norm.v)]] = _singular_vectors(matrix, norm.v, norm.eps)
    return found


def _norms(model: nn.Module) -> Iterator[_Norm]:
    """Every spectral norm of a model: torch's parametrization, where it comes first, and torch's older hook."""
    for module in model.modules():
        if isinstance(module, ParametrizationList) and isinstance(module[0], _SpectralNorm):
            norm, original = cast(Any, module[0]), module.original
            if original.ndim > 1:  # a vector is divided by its norm, for which nothing is kept
                yield _Norm(original, norm._u, norm._v, norm._reshape_weight_to_matrix, norm.eps)
        hooks = cast("Iterable[Any]", module._forward_pre_hooks.values())  # pyright: ignore[reportPrivateUsage]
        for hook in hooks:
            if isinstance(hook, SpectralNorm):
                original, u, v = (getattr(module, f"{hook.name}_{what}") for what in ("orig", "u", "v"))
                yield _Norm(original, u, v, hook.reshape_weight_to_matrix, hook.eps)


def _singular_vectors(matrix: Tensor, v: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The left and the right vector of the largest singular value, from a guess of the right one."""
    before, u = 0.0, v
    for _ in range(MOST):
        u = normalize(torch.mv(matrix, v), dim=0, eps=eps)
        v = normalize(torch.mv(matrix.mH, u), dim=0, eps=eps)
        sigma = torch.dot(u, torch.mv(matrix, v)).item()
        if not abs(sigma - before) > SETTLED * abs(sigma):  # NaN ends it too
            break
        before = sigma
    return u, v
