"""Weight norm and spectral norm: weights that are computed from other parameters each time they are used.

torch's parametrizations, applied to the weights of all linear and convolutional layers of a model that has been built.
The parameters behind a weight take its place in the state dict:

    weight norm        LAYER.parametrizations.weight.original0 (lengths g), .original1 (directions v)
    spectral norm      LAYER.parametrizations.weight.original, and the buffers .0._u and .0._v

Salimans and Kingma 2016, arXiv 1602.07868, equation 2: w = g * v / ||v||, with a g for each output. Miyato et al. 2018,
arXiv 1802.05957, equation 8: W / sigma(W), with sigma from one step of power iteration for each forward pass in
training (algorithm 1); evaluation leaves u and v as they are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from shoal.errors import RecipeError

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)

STACKABLE: dict[str, bool] = {"weight_norm": True, "spectral_norm": False}
"""Whether torch.func.vmap (2.13) can train models with it as one stack, by its key in `regularise`."""
REASONS: dict[str, str] = {
    "weight_norm": "vmap computes it, though run by run: torch's fused kernel (_weight_norm_interface) has no batching "
    "rule, of which torch warns",
    "spectral_norm": "vmap refuses it in training: each forward pass writes its vectors u and v by operations with "
    "out=, which have no batching rule",
}


def reparametrised(model: nn.Module, *, weight_norm: bool = False, spectral_norm: bool = False) -> nn.Module:
    """Return the model, changed in place, with the weights of its linear and convolutional layers reparametrised.

    Under weight norm a model starts with the function that it had; under spectral norm with its weights divided by
    their largest singular values. A weight of zeros has neither direction nor singular value, so it gets some from
    torch's global generator: under weight norm a direction of length g = 0, so that the weight is still zero; under
    spectral norm a weight as torch's layers draw theirs. A weight that modules share stays shared.

    Raises RecipeError where both are asked for.
    """
    if weight_norm and spectral_norm:
        raise RecipeError(
            "regularise.weight_norm = true and regularise.spectral_norm = true: expected one of them at most, for "
            "each sets the length of the weights. Leave one of them out."
        )
    if not (weight_norm or spectral_norm):
        return model
    holders = _holders(model)
    for layer in list(model.modules()):
        weight = dict(layer.named_parameters(recurse=False)).get("weight") if isinstance(layer, LAYERS) else None
        if weight is None:  # no such layer; or its weight is computed already, by what it shares or by the user
            continue
        if weight_norm:
            _by_length(layer)
        else:
            _by_spectrum(layer, weight)
        for holder, name in holders[id(weight)]:
            if holder is not layer:
                _share(layer, holder, name)
    return model


def _holders(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """The modules that hold each parameter, and what they call it."""
    found: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            found[id(parameter)].append((module, name))
    return found


def _by_length(layer: nn.Module) -> None:
    """Weight norm; what is zero gets a direction."""
    parametrizations.weight_norm(layer, dim=1 if isinstance(layer, TRANSPOSED) else 0)  # the axis of outputs
    lengths, directions = (cast(Any, layer).parametrizations.weight.get_parameter(f"original{i}") for i in (0, 1))
    with torch.no_grad():
        if not lengths.all():
            directions.copy_(torch.where(lengths == 0, torch.randn_like(directions), directions))


def _by_spectrum(layer: nn.Module, weight: Tensor) -> None:
    """Spectral norm; what is zero is drawn as torch's layers draw their weights."""
    if not weight.any():
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    parametrizations.spectral_norm(layer)


def _share(layer: nn.Module, holder: nn.Module, name: str) -> None:
    """Let another module that held the layer's weight compute it from the same parameters."""
    parametrize.register_parametrization(holder, name, nn.Identity())
    cast(Any, holder).parametrizations[name] = cast(Any, layer).parametrizations["weight"]
