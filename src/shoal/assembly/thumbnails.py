"""Small pictures in one PNG file: a sheet of tiles, which a page cuts up again.

The file is written here and not by a library, whose import would take longer than the whole sheet.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 64
"""The longer side of a tile in pixels, at most."""
SHEET_BYTES = 240_000
"""A sheet that does not compress is no larger than this."""
ACROSS = 12


@dataclass(frozen=True)
class Sheet:
    """The bytes of a PNG file, and how its tiles lie: `across` in a row, each `width` by `height` pixels."""

    png: bytes
    width: int
    height: int
    across: int
    count: int


def sheet(pictures: Tensor) -> Sheet:
    """Return pictures [n, H, W] or [n, 1 or 3, H, W] of any range of numbers as one sheet."""
    pictures_NCHW = pictures if pictures.ndim == 4 else pictures.unsqueeze(1)
    tiles = _bytes(_small(pictures_NCHW.to(torch.float32)))
    count, channels, height, width = tiles.shape
    rows = -(-count // ACROSS)
    padded = torch.zeros(rows * ACROSS, channels, height, width, dtype=torch.uint8)
    padded[:count] = tiles
    laid = padded.view(rows, ACROSS, channels, height, width).permute(0, 3, 1, 4, 2)
    image = laid.reshape(rows * height, ACROSS * width, channels).numpy()
    return Sheet(png(image), width, height, ACROSS, count)


def png(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """Return the PNG file of an image [H, W, 1 or 3] of uint8 (PNG specification, third edition, section 5)."""
    height, width, channels = image.shape
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _small(pictures: Tensor) -> Tensor:
    """Shrink pictures by averaging until a tile, and the sheet, are small enough."""
    count, channels, height, width = pictures.shape
    room = (SHEET_BYTES / max(1, count * channels)) ** 0.5
    share = min(1.0, min(TILE, room) / max(height, width))
    if share == 1.0:
        return pictures
    return F.adaptive_avg_pool2d(pictures, (max(1, int(height * share)), max(1, int(width * share))))


def _bytes(pictures: Tensor) -> Tensor:
    """Return pictures as uint8: ranges that look like 0 to 1 or 0 to 255 as they are, others from least to most."""
    known = torch.nan_to_num(pictures, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(known.min()), float(known.max())
    if low >= 0 and (0.5 < high <= 1 or 127 < high <= 255):
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    return ((known - low) * (255 / max(high - low, 1e-30))).round().clamp(0, 255).to(torch.uint8)
