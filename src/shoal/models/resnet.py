"""Residual networks: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

Three kinds, told apart by depth: 6n + 2 for small pictures (section 4.2), 18 for larger ones (section 4.1), and 9, the
shallow and wide one with which David Page won DAWNBench's CIFAR-10 in 2018 (without its factor before the softmax).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from shoal.errors import RecipeError
from shoal.models.residual import PlainResidual, Pooled, ResidualBlock, convolved, drop_paths, initialise
from shoal.recipe import parts
from shoal.recipe.fields import Part

LARGE = 96
"""Pictures whose shorter side has this many pixels get the 7x7 stem."""
SMALLEST_9 = 8
"""Depth 9 halves a picture three times by pooling, which leaves nothing of a smaller one."""


class Resnet(nn.Sequential):
    """A residual network of one of the depths above. Inputs [B, C, H, W]; outputs [B, outputs].

    `width` is the channels of the first stage, which double from stage to stage; None is the usual one: 16 for depths
    of 6n + 2, else 64. Names in the state dict: `stem.conv.weight`, `stage1.block1.conv1.weight`, `output.weight`.
    Raises RecipeError for another depth, and for an input that it cannot take.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        depth: int = 20,
        width: int | None = None,
        norm: str = "batch",
        stem: str = "auto",
        drop_path: float = 0.0,
    ) -> None:
        _check(input_shape, depth=depth, stem=stem)
        channels, *sides = input_shape
        first = width or (64 if depth in (9, 18) else 16)
        if depth == 9:
            layers = _shallow(channels, first, norm)
        elif depth == 18:
            large = stem == "7x7" or (stem == "auto" and min(sides) >= LARGE)
            layers = _large_stem(channels, first, norm) if large else _stem(channels, first, norm)
            layers |= _stages(first, norm, stages=4, blocks=2, project=True)
        else:
            layers = _stem(channels, first, norm)
            layers |= _stages(first, norm, stages=3, blocks=(depth - 2) // 6, project=False)
        layers["pool"] = Pooled("max" if depth == 9 else "mean")
        layers["output"] = nn.Linear(first << (3 if depth in (9, 18) else 2), outputs)
        super().__init__(layers)
        initialise(self)
        drop_paths(self, drop_path)


def build(part: Part, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the recipe's `resnet`."""
    assert isinstance(part, parts.Resnet)
    return Resnet(
        input_shape,
        outputs,
        depth=part.depth,
        width=part.width,
        norm=part.norm,
        stem=part.stem,
        drop_path=part.drop_path,
    )


Layers = OrderedDict[str, nn.Module]


def _stem(channels: int, width: int, norm: str) -> Layers:
    return Layers(stem=nn.Sequential(convolved(channels, width, norm)))


def _large_stem(channels: int, width: int, norm: str) -> Layers:
    layers = convolved(channels, width, norm, size=7, stride=2)
    layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return Layers(stem=nn.Sequential(layers))


def _stages(width: int, norm: str, *, stages: int, blocks: int, project: bool) -> Layers:
    """Stages of blocks; each stage but the first halves the picture and doubles the channels."""
    layers, incoming = Layers(), width
    for stage in range(stages):
        stage_layers, channels = Layers(), width << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            stage_layers[f"block{block + 1}"] = ResidualBlock(
                incoming, channels, stride=stride, norm=norm, project=project
            )
            incoming = channels
        layers[f"stage{stage + 1}"] = nn.Sequential(stage_layers)
    return layers


def _shallow(channels: int, width: int, norm: str) -> Layers:
    """One convolution, then three stages that double the channels and halve the picture, the outer two with a block."""
    layers = _stem(channels, width, norm)
    for stage in (1, 2, 3):
        stage_layers = convolved(width << (stage - 1), width << stage, norm)
        stage_layers["pool"] = nn.MaxPool2d(2)
        if stage != 2:
            stage_layers["residual"] = PlainResidual(width << stage, norm)
        layers[f"stage{stage}"] = nn.Sequential(stage_layers)
    return layers


def _check(input_shape: tuple[int, ...], *, depth: int, stem: str) -> None:
    """Raise RecipeError for a depth that there is not, a stem without a choice, and what is no picture."""
    known = {9, 18, *(6 * n + 2 for n in range(1, depth // 6 + 2))}
    if depth not in known:
        close = min(sorted(known), key=lambda other: abs(other - depth))
        raise RecipeError(
            f"model.depth = {depth}: there is no such resnet: did you mean {close}? There are: 9, 18, and 6n + 2, such "
            "as 20, 32, 44, 56 and 110."
        )
    if stem != "auto" and depth != 18:
        raise RecipeError(
            f"model.stem = {stem}: only the resnet of depth 18 has a choice of stems, and model.depth = {depth}. "
            "Leave model.stem out, or choose model.depth=18."
        )
    if len(input_shape) != 3:
        raise RecipeError(
            "model.name = resnet: expected examples that are pictures of shape [channels, height, width], and those "
            f"of this dataset have shape {list(input_shape)}. Choose model=mlp, or give the examples that shape."
        )
    _, height, width = input_shape
    if depth == 9 and min(height, width) < SMALLEST_9:
        raise RecipeError(
            f"model.depth = 9: this resnet halves the picture three times, and one of {width}x{height} pixels would "
            f"vanish: expected {SMALLEST_9} pixels a side or more. Choose model.depth=20, which takes any size."
        )
