"""The table of builders, one for each model that a recipe can name, and how a user's own are added to it.

The class of an entry's parameters is in `recipe.tables`, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Protocol, cast

from torch import nn

from shoal.errors import RecipeError
from shoal.models import convnet, gpt, mlp, resnet
from shoal.recipe.fields import Part
from shoal.recipe.own import declare

SUPPLIED = ("input_shape", "outputs")
"""What Shoal fills in where a factory has parameters of these names."""


class Builder(Protocol):
    """From a recipe's part and the shape of the data to a network with fresh weights."""

    def __call__(self, part: Part, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module: ...


BUILDERS: dict[str, Builder] = {"mlp": mlp.build, "convnet": convnet.build, "gpt": gpt.build, "resnet": resnet.build}


OF_TOKENS = frozenset({"gpt"})
"""Models whose inputs are tokens; the inputs of all others are real numbers."""


def build(part: Part, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the model of a recipe for examples [*input_shape], with `outputs` values for each.

    The weights are drawn from torch's global generator. Raises RecipeError where the model cannot take that input, or
    where a user's factory returns no nn.Module.
    """
    if part.name not in BUILDERS:
        raise RecipeError(
            f"model.name = {part.name}: such a model is an object that was passed from Python. Pass it again, as in "
            "model=factory, or register a factory for it with --module MODULE."
        )
    made = cast(object, BUILDERS[part.name](part, input_shape=input_shape, outputs=outputs))  # a user's may be wrong
    if not isinstance(made, nn.Module):
        raise RecipeError(
            f"model.name = {part.name}: its factory returned {type(made).__name__}: expected a torch.nn.Module. "
            "Return the network that was made; a factory without a return statement returns None."
        )
    return made


def register(name: str, factory: Callable[..., nn.Module]) -> None:
    """Add a user's factory (a function, or a subclass of nn.Module) to the table under `name`.

    It is called with those of `input_shape` and `outputs` that are among its parameters; the others become keys of
    the recipe. Raises RecipeError for a name that is taken and for a parameter that cannot become a key.
    """
    cls = declare("model", name, factory, supplied=SUPPLIED)
    wanted = signature(factory).parameters
    keys = [key for key in wanted if key in cls.model_fields]

    def builder(part: Part, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        supplied: dict[str, Any] = {"input_shape": input_shape, "outputs": outputs}
        given = {key: value for key, value in supplied.items() if key in wanted}
        return factory(**given, **{key: getattr(part, key) for key in keys})

    BUILDERS[name] = builder
