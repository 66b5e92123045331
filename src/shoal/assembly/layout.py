"""How pictures lie in memory: channel by channel, as torch has them, or pixel by pixel (channels last), where it pays.

Convolutions work pixel by pixel inside; weights that lie so spare them from turning every picture round. On one thread
of a CPU that took 0.7 to 0.8 of the time of a step for convolutional networks on pictures of 28 and 32 pixels, and made
no difference at 8; on two threads it took 1.1 of it, for the other layout shares its work out better. On a GPU it pays
where tensor cores compute. Results differ by rounding, so the choice is part of the plan and not of identity.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SMALLEST = 16
"""Pixels of the shorter side of a picture from which it pays on a CPU."""


def pixel_by_pixel(
    wanted: str, precision: str, input_shape: tuple[int, ...], device: torch.device, *, threads: int
) -> bool:
    """Return whether to lay pictures out pixel by pixel; `wanted` is yes, no or auto.

    >>> [pixel_by_pixel("auto", "fp32", (3, 32, 32), torch.device("cpu"), threads=threads) for threads in (1, 2)]
    [True, False]
    """
    if wanted != "auto":
        return wanted == "yes"
    if len(input_shape) != 3:
        return False
    if device.type == "cuda":
        return precision != "fp32"
    return device.type == "cpu" and threads == 1 and min(input_shape[1:]) >= SMALLEST


def laid_out(model: nn.Module, *, channels_last: bool) -> nn.Module:
    """Return a model with its convolutions' weights laid out, in place; what passes through them follows."""
    if channels_last == is_channels_last(model) or not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return model
    move: Any = model.to  # its memory_format is missing from torch's annotations
    return move(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def is_channels_last(model: nn.Module) -> bool:
    """Return whether a model's convolutions lie in memory pixel by pixel."""
    return any(p.ndim == 4 and not p.is_contiguous() for p in model.parameters())
