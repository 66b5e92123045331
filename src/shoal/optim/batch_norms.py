"""The running statistics of batch norms, computed anew for given weights: for averages, which were never trained with.

Not for a training step: a cumulative average reads its count on the host.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoal import rng
from shoal.optim.functional import functional_call

Tree = dict[str, Tensor]
Norm = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a model has a batch norm that keeps running statistics in training (a frozen one does not)."""
    with _training(model):
        return bool(_norms(model))


@torch.no_grad()
def batch_norm_statistics(
    model: nn.Module, weights: Mapping[str, Tensor], inputs: Iterable[Any], *, seed: int = 0
) -> Tree:
    """Return the weights with the means and variances of their batch norms over batches of inputs, each batch alike.

    As `torch.optim.swa_utils.update_bn`: one pass in training mode, the plain mean of the batches' statistics (SWA,
    arXiv 1803.05407, section 3.2). Unlike it, this leaves alone the model's weights, buffers and modes, norms that
    are frozen (in eval mode within a model in training), and the caller's random state: dropout draws from `seed`.
    Without batch norms, or without a batch, the weights come back as they are.
    """
    with _training(model), rng.preserved():
        norms = _norms(model)
        if not norms:
            return dict(weights)
        rng.seed_all(rng.key(seed, "statistics"))
        spare = {name: weights.get(name, value).clone() for name, value in model.named_buffers()}
        fresh = [f"{prefix}{name}" for prefix, norm in norms.items() for name, _ in norm.named_buffers(recurse=False)]
        for name in fresh:
            spare[name].fill_(1.0 if name.endswith("running_var") else 0.0)
        used, batches = {**weights, **spare}, 0
        with _cumulative(norms.values()):
            for batch in inputs:
                functional_call(model, used, (batch,))
                batches += 1
    if batches == 0:
        return dict(weights)
    first = _first_names(model)
    return {name: spare[first[name]] if first.get(name) in fresh else value for name, value in weights.items()}


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name of a buffer, and the first that it has: a module that is used twice has two in a state dict."""
    first = {id(value): name for name, value in model.named_buffers()}
    return {name: first[id(value)] for name, value in model.named_buffers(remove_duplicate=False)}


def _norms(model: nn.Module) -> dict[str, nn.Module]:
    """Norms that would update their statistics now, by the prefix of their names in a state dict."""
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    return {
        f"{name}." if name else "": module
        for name, module in modules
        if isinstance(module, Norm) and module.training and module.running_mean is not None
    }


@contextmanager
def _training(model: nn.Module) -> Generator[None]:
    """Put a model that is in eval mode as a whole into training mode, and every module back."""
    modes = [(module, module.training) for module in model.modules()]
    if not model.training:
        model.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _cumulative(norms: Iterable[Any]) -> Generator[None]:
    """Let norms average over all batches alike, and put their momenta back."""
    momenta = [(norm, norm.momentum) for norm in norms]
    for norm, _ in momenta:
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
