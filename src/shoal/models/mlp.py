"""The multilayer perceptron: linear layers, each with a norm, an activation and dropout as asked."""

from __future__ import annotations

from collections import OrderedDict
from math import prod

from torch import nn

from shoal.recipe import parts
from shoal.recipe.fields import Part

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Mlp(nn.Sequential):
    """`depth` hidden layers of `width` units, then a linear layer; depth 0 is a linear model.

    Inputs [B, *input_shape] of any shape are flattened; outputs are [B, outputs]. A layer that does nothing (a norm
    of none, dropout of 0) is left out, and the names in the state dict do not move for it: `linear1.weight`,
    `norm1.weight`, `output.weight`.

    >>> list(Mlp((1, 8, 8), 10, width=64, depth=1).state_dict())
    ['linear1.weight', 'linear1.bias', 'output.weight', 'output.bias']
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        width: int = 128,
        depth: int = 1,
        dropout: float = 0.0,
        norm: str = "none",
        activation: str = "relu",
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if len(input_shape) != 1:
            layers["flatten"] = nn.Flatten()
        features = prod(input_shape)
        for number in range(1, depth + 1):
            layers[f"linear{number}"] = nn.Linear(features, width)
            if norm != "none":
                layers[f"norm{number}"] = NORMS[norm](width)
            layers[f"activation{number}"] = ACTIVATIONS[activation]()
            if dropout > 0:
                layers[f"dropout{number}"] = nn.Dropout(dropout)
            features = width
        layers["output"] = nn.Linear(features, outputs)
        super().__init__(layers)


def build(part: Part, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the recipe's `mlp`."""
    assert isinstance(part, parts.Mlp)
    return Mlp(
        input_shape,
        outputs,
        width=part.width,
        depth=part.depth,
        dropout=part.dropout,
        norm=part.norm,
        activation=part.activation,
    )
