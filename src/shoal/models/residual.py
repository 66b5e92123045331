"""What residual networks are made of: convolutions with a norm, blocks around which the input goes unchanged.

Legend: B examples, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from shoal.models.convnet import norm_of
from shoal.models.drop_path import drop_path


def convolution(incoming: int, channels: int, *, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias (a norm follows) that keeps the picture's size where `stride` is 1."""
    return nn.Conv2d(incoming, channels, size, stride=stride, padding=size // 2, bias=False)


def convolved(
    incoming: int, channels: int, norm: str, *, size: int = 3, stride: int = 1
) -> OrderedDict[str, nn.Module]:
    """Return a convolution, a norm and ReLU, by their names."""
    return OrderedDict(
        conv=convolution(incoming, channels, size=size, stride=stride), norm=norm_of(norm, channels), relu=nn.ReLU()
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input, then ReLU (He et al. 2015, figure 2).

    Before the sum the result goes through `drop_path`, which does nothing unless it is set.

    Where shapes differ, the input is brought to the result's: by leaving out pixels and padding with channels of zeros
    (option A of section 4.1, no weights), or with `project` by a 1x1 convolution (option B).
    """

    def __init__(self, incoming: int, channels: int, *, stride: int, norm: str, project: bool) -> None:
        super().__init__()
        self.conv1, self.norm1 = convolution(incoming, channels, stride=stride), norm_of(norm, channels)
        self.conv2, self.norm2 = convolution(channels, channels), norm_of(norm, channels)
        self.shortcut = _shortcut(incoming, channels, stride=stride, norm=norm, project=project)
        self.drop_path: nn.Module = nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x_BCHW)))
        return F.relu(self.drop_path(self.norm2(self.conv2(inner))) + self.shortcut(x_BCHW))


def _shortcut(incoming: int, channels: int, *, stride: int, norm: str, project: bool) -> nn.Module:
    if incoming == channels and stride == 1:
        return nn.Identity()
    if not project:
        return PaddedShortcut(channels - incoming, stride)
    layers = OrderedDict[str, nn.Module](
        conv=convolution(incoming, channels, size=1, stride=stride), norm=norm_of(norm, channels)
    )
    return nn.Sequential(layers)


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, and as many channels of zeros as are missing, half before and half behind."""

    def __init__(self, missing: int, stride: int) -> None:
        super().__init__()
        self.before, self.behind, self.stride = missing // 2, missing - missing // 2, stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        fewer = x_BCHW[..., :: self.stride, :: self.stride]
        return F.pad(fewer, (0, 0, 0, 0, self.before, self.behind))


class PlainResidual(nn.Module):
    """Two convolutions with norm and ReLU, added to their input, with nothing after the sum."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.first = nn.Sequential(convolved(channels, channels, norm))
        self.second = nn.Sequential(convolved(channels, channels, norm))
        self.drop_path: nn.Module = nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.drop_path(self.second(self.first(x_BCHW)))


class Pooled(nn.Module):
    """The mean, or the maximum, of each channel over the whole picture: [B, C, H, W] to [B, C]."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.mean((-2, -1)) if self.kind == "mean" else x_BCHW.amax((-2, -1))


def drop_paths(network: nn.Module, rate: float) -> None:
    """Let training leave out branches of a network's residual blocks, the later the more often, the last at `rate`."""
    blocks = [layer for layer in network.modules() if isinstance(layer, ResidualBlock | PlainResidual)]
    for number, block in enumerate(blocks, start=1):
        block.drop_path = drop_path(rate, number, len(blocks))


def initialise(network: nn.Module) -> None:
    """Draw weights as He et al. 2015 (arXiv 1502.01852) do, and let every ResidualBlock begin as its shortcut alone.

    The latter (the last norm of a block begins at zero, arXiv 1706.02677, section 5.1) makes warm-up less needed.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    for layer in network.modules():
        if isinstance(layer, ResidualBlock):
            nn.init.zeros_(layer.norm2.get_parameter("weight"))
