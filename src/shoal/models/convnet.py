"""The convolutional network: blocks of two 3x3 convolutions, each halving the picture and doubling the channels."""

from __future__ import annotations

from collections import OrderedDict
from math import gcd

from torch import nn

from shoal.errors import RecipeError
from shoal.recipe import parts
from shoal.recipe.fields import Part

GROUPS = 8
"""Groups of a group norm, where the channels divide by it; else the greatest common divisor."""


class Convnet(nn.Sequential):
    """`depth` blocks whose channels double from `width`, then global average pooling and a linear layer.

    Inputs are [B, C, H, W]; outputs are [B, outputs]. A block is two 3x3 convolutions, each followed by a norm and
    ReLU, then 2x2 max-pooling. Names in the state dict: `block1.conv1.weight`, `block1.norm1.weight`, `output.weight`.
    Raises RecipeError where the input is no picture, or too small to be halved `depth` times.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        width: int = 32,
        depth: int = 2,
        dropout: float = 0.0,
        norm: str = "batch",
    ) -> None:
        channels = _picture_channels(input_shape, depth)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(depth):
            layers[f"block{index + 1}"] = _block(channels, width << index, norm)
            channels = width << index
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        if dropout > 0:
            layers["dropout"] = nn.Dropout(dropout)
        layers["output"] = nn.Linear(channels, outputs)
        super().__init__(layers)


def build(part: Part, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the recipe's `convnet`."""
    assert isinstance(part, parts.Convnet)
    return Convnet(input_shape, outputs, width=part.width, depth=part.depth, dropout=part.dropout, norm=part.norm)


def _block(channels_in: int, channels: int, norm: str) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, incoming in ((1, channels_in), (2, channels)):
        # A norm that follows subtracts the mean, so a bias before it would be dead weight.
        layers[f"conv{number}"] = nn.Conv2d(incoming, channels, 3, padding=1, bias=norm == "none")
        if norm != "none":
            layers[f"norm{number}"] = norm_of(norm, channels)
        layers[f"relu{number}"] = nn.ReLU()
    layers["pool"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


def norm_of(norm: str, channels: int) -> nn.Module:
    """Return a batch or group norm for that many channels."""
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(gcd(channels, GROUPS), channels)


def _picture_channels(input_shape: tuple[int, ...], depth: int) -> int:
    """Return the channels of a picture [C, H, W] that can be halved `depth` times, or raise RecipeError."""
    if len(input_shape) != 3:
        raise RecipeError(
            "model.name = convnet: expected examples that are pictures of shape [channels, height, width], and those "
            f"of this dataset have shape {list(input_shape)}. Choose model=mlp, or give the examples that shape."
        )
    channels, *sides = input_shape
    possible = min(sides).bit_length() - 1
    if depth > possible:
        advice = f"Choose model.depth={possible} or less" if possible > 0 else "Choose model=mlp"
        raise RecipeError(
            f"model.depth = {depth}: each block of a convnet halves the picture, and one of {sides[0]}x{sides[1]} "
            f"pixels can be halved {possible} times. {advice}."
        )
    return channels
