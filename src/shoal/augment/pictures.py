"""The augmentations of pictures, and the table in which they stand in the order of their application.

Legend: B examples, C channels, H height, W width. Each takes pictures [B, C, H, W], uniform numbers u [B, draws] and
its amount, the value of its key in `regularise`; it returns pictures of the same shape, type and memory format.

Which way of writing each is fastest was measured on one core (128 pictures, 3x32x32, microseconds; a copy takes 100):
flip by lerp 280, by where 410, by gather 440; translate by runs of numbers 500, by windows of the padded batch 700, by
gathering rows and columns 1,500, by an index for each pixel 2,900, and by grid_sample 440, but more than twice the time
of runs for pictures of one channel; crop by grid_sample 800, by two matrix products 800, but eight times as much at 224
pixels, by gather 2,200; cutout by a product 330, by masked_fill 730.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ASPECT = 4 / 3
"""The widest that a crop gets, for its height; 1 over it the narrowest."""


def flip(x_BCHW: Tensor, u: Tensor, _: bool = True) -> Tensor:
    """Mirror left to right with probability 1/2."""
    mirrored = (u[:, 0] < 0.5).to(x_BCHW.dtype)
    return torch.lerp(x_BCHW, x_BCHW.flip(-1), mirrored.view(-1, 1, 1, 1))  # exact where the weight is 0 or 1


def translate(x_BCHW: Tensor, u: Tensor, most: int) -> Tensor:
    """Shift by whole pixels, uniform from -most to most both ways; what comes in from outside is 0.

    The random crop of pictures padded with zeros: He et al. 2015, arXiv 1512.03385, section 4.2, with most = 4.
    """
    down, right = (u * (2 * most + 1)).to(torch.int64).unbind(1)
    x_BPHR, step = _rows(x_BCHW)
    B, P, H, R = x_BPHR.shape
    padded = F.pad(x_BPHR, (most * step, most * step, most, most))
    planes = torch.arange(B * P, device=u.device).view(B, P, 1) * padded.shape[2]
    firsts = (planes + down.view(B, 1, 1) + torch.arange(H, device=u.device)) * padded.shape[3]
    runs = padded.view(-1).unfold(0, R, 1)  # whatever R numbers lie side by side
    found = runs.index_select(0, (firsts + right.view(B, 1, 1) * step).view(-1)).view(B, P, H, R)
    return found.view(x_BCHW.shape) if step == 1 else found.view(B, H, -1, step).permute(0, 3, 1, 2)


def crop(x_BCHW: Tensor, u: Tensor, least: float) -> Tensor:
    """Cut out a part and resize it to the whole, bilinearly: Szegedy et al. 2014, arXiv 1409.4842, section 6.

    The part's share of the area is uniform in [least, 1]. Its aspect ratio, for that of the picture, is log-uniform in
    [3/4, 4/3] as far as a part of that area fits into the picture; its place is uniform among those where it fits.
    """
    height, width = x_BCHW.shape[2:]
    share = least + (1 - least) * u[:, 0]
    widest = torch.clamp(-share.log(), max=math.log(ASPECT))
    stretch = torch.exp((u[:, 1] - 0.5) * widest)  # the square root of the aspect ratio
    side = share.sqrt()
    y_BH = _places(side / stretch, u[:, 2], height)
    x_BW = _places(side * stretch, u[:, 3], width)
    grid = torch.stack((x_BW.unsqueeze(1).expand(-1, height, -1), y_BH.unsqueeze(2).expand(-1, -1, width)), dim=-1)
    wide = torch.promote_types(x_BCHW.dtype, torch.float32)
    found = F.grid_sample(x_BCHW.to(wide), grid.to(wide), mode="bilinear", padding_mode="border", align_corners=False)
    return _laid_out_as(x_BCHW, found.to(x_BCHW.dtype))


def cutout(x_BCHW: Tensor, u: Tensor, side: int) -> Tensor:
    """Set a square to 0, the mean where inputs are normalised: DeVries and Taylor 2017, arXiv 1708.04552, section 3.2.

    Its centre is a pixel, uniform over the picture; what lies outside is cut off, so that it is often smaller.
    """
    height, width = x_BCHW.shape[2:]
    y_BH, x_BW = _inside(u[:, 0], height, side), _inside(u[:, 1], width, side)
    kept = 1 - y_BH.unsqueeze(2) * x_BW.unsqueeze(1)
    return x_BCHW * kept.unsqueeze(1).to(x_BCHW.dtype)


@dataclass(frozen=True)
class Entry:
    """An augmentation, and which of an example's draws are its own: `first` and as many as `draws`.

    The numbers are frozen, and those of an entry do not depend on which others are in use.
    """

    apply: Callable[[Tensor, Tensor, Any], Tensor]
    first: int
    draws: int

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.draws)


ENTRIES: dict[str, Entry] = {
    "crop": Entry(crop, first=5, draws=4),
    "flip": Entry(flip, first=0, draws=1),
    "translate": Entry(translate, first=1, draws=2),
    "cutout": Entry(cutout, first=3, draws=2),
}
"""By the names of their keys in `regularise`, in the order in which they are applied."""


def _places(share: Tensor, u: Tensor, size: int) -> Tensor:
    """Where the pixels of one axis come from, [B, size], from -1 to 1 over the picture: a part of that share at u."""
    start = (1 - share) * u
    pixels = (torch.arange(size, device=u.device) + 0.5) * (2 / size)
    return torch.addcmul((2 * start - 1).unsqueeze(1), share.unsqueeze(1), pixels)


def _inside(u: Tensor, size: int, side: int) -> Tensor:
    """1 for the pixels of one axis, [B, size], that are among the `side` around a centre at u, else 0."""
    first = (u * size).floor() - side // 2
    distance = (torch.arange(size, device=u.device) - first.unsqueeze(1) - (side - 1) / 2).abs()
    return (distance < side / 2).to(torch.float32)


def _pixel_by_pixel(x_BCHW: Tensor) -> bool:
    """Whether the channels of a pixel lie side by side in memory. With one channel both formats are the same."""
    return x_BCHW.stride(1) == 1 and x_BCHW.shape[1] > 1


def _rows(x_BCHW: Tensor) -> tuple[Tensor, int]:
    """Return pictures as they lie in memory, [B, planes, H, numbers of a row], and the numbers of a pixel."""
    if not _pixel_by_pixel(x_BCHW):
        return x_BCHW.contiguous(), 1
    return x_BCHW.permute(0, 2, 3, 1).flatten(2).unsqueeze(1).contiguous(), x_BCHW.shape[1]


def _laid_out_as(like: Tensor, x_BCHW: Tensor) -> Tensor:
    """Return pictures in the memory format of others."""
    return x_BCHW.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if _pixel_by_pixel(like) else x_BCHW
