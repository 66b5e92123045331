"""The network of a recipe: built by name, or by a factory passed from Python, with the initial weights of its seed."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from shoal import models
from shoal.assembly.objects import Objects
from shoal.assembly.source import qualified_name
from shoal.errors import RecipeError
from shoal.recipe import Recipe
from shoal.rng import key
from shoal.training.weights import evaluating


def build_model(recipe: Recipe, objects: Objects, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Return the network of a recipe with its initial weights, on the CPU; the caller's generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key(recipe.seed, "weights"))
        if objects.model is None:
            built = models.build(recipe.model, input_shape=input_shape, outputs=outputs)
        else:
            built = _external(objects.model, input_shape=input_shape, outputs=outputs)
        if any(is_lazy(parameter) for parameter in built.parameters()):  # nn.LazyLinear: shapes come from a first batch
            with torch.no_grad(), evaluating(built):
                built(torch.zeros(1, *input_shape))
        regularise = recipe.regularise
        return models.reparametrised(built, weight_norm=regularise.weight_norm, spectral_norm=regularise.spectral_norm)


def _external(factory: Any, **supplied: Any) -> nn.Module:
    """Call a factory passed from Python, with those of `input_shape` and `outputs` that it has as parameters."""
    if isinstance(factory, nn.Module):
        qualified_name(factory, "model")  # refuses an instance, and says what to pass
    parameters = inspect.signature(factory).parameters
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in supplied
    ]
    if needed:
        raise RecipeError(
            f"model={getattr(factory, '__qualname__', factory)}: its parameter '{needed[0]}' has no value. Shoal fills "
            "in input_shape and outputs; bind the others with functools.partial, or register it: @shoal.model('name')."
        )
    built = factory(**{name: value for name, value in supplied.items() if name in parameters})
    if not isinstance(built, nn.Module):
        named = getattr(factory, "__qualname__", factory)
        raise RecipeError(f"model={named} returned {type(built).__name__}: expected a torch.nn.Module.")
    return built
