"""Inputs as pictures for people: normalisation undone, values stretched to what a screen shows, many on one sheet.

Legend: B pictures, C channels (1 or 3), H height, W width.
"""

from __future__ import annotations

import io
from math import ceil

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from shoal.datasets import Normalisation

CHANNELS = (1, 3)
GREY = 96


def are_pictures(shape: tuple[int, ...]) -> bool:
    """Return whether examples of a shape can be shown as pictures, [1, H, W] or [3, H, W]."""
    return len(shape) == 3 and shape[0] in CHANNELS


def shown(inputs_BCHW: Tensor, normalisation: Normalisation | None, *, largest: int | None = None) -> Tensor:
    """Return inputs as uint8 [B, C, H, W], from black for the least value of all to white for the greatest.

    Pictures are shrunk to a side of at most `largest`.
    """
    x_BCHW = inputs_BCHW.detach().float().cpu()
    if normalisation is not None:
        constants = normalisation.to(x_BCHW.device)
        x_BCHW = x_BCHW * constants.deviation + constants.mean
    side = max(x_BCHW.shape[-2:])
    if largest is not None and side > largest:
        size = [max(1, round(length * largest / side)) for length in x_BCHW.shape[-2:]]
        x_BCHW = F.interpolate(x_BCHW, size=size, mode="area")
    least, most = x_BCHW.aminmax()
    return ((x_BCHW - least) * (255 / (most - least).clamp(min=1e-30))).round().to(torch.uint8)


def sheet(pictures_BCHW: Tensor, *, gap: int = 0) -> Tensor:
    """Return pictures of uint8 row by row on one square sheet [C, rows * H, rows * W], with a grey gap around each.

    >>> sheet(torch.ones(3, 1, 2, 2, dtype=torch.uint8)).shape
    torch.Size([1, 4, 4])
    """
    B, C, H, W = pictures_BCHW.shape
    rows = ceil(B**0.5)
    full = torch.full((rows * rows, C, H + gap, W + gap), GREY, dtype=torch.uint8)
    full[:B, :, gap:, gap:] = pictures_BCHW
    whole = full.view(rows, rows, C, H + gap, W + gap).permute(2, 0, 3, 1, 4).reshape(C, rows * (H + gap), -1)
    return F.pad(whole, (0, gap, 0, gap), value=GREY)


def png(picture_CHW: Tensor) -> bytes:
    """Return a picture of uint8 [C, H, W] as a PNG file's bytes."""
    array = picture_CHW.permute(1, 2, 0).squeeze(-1).contiguous().numpy()
    with io.BytesIO() as file:
        Image.fromarray(array).save(file, format="PNG")
        return file.getvalue()
