"""One picture, from its file or its bytes to pixels: what training keeps, and what a prediction reads.

JPEG, PNG, BMP, GIF (the first frame) and WebP are read, by pillow; it is imported when the first picture is decoded.
A picture is turned as its EXIF orientation says. Transparency is dropped, 16 bits a channel become 8.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from shoal.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"})
"""How the names of pictures end, in capitals or not."""
MODES = {1: "L", 3: "RGB"}
MOST_PIXELS = 1 << 26
"""A picture that claims more is taken for a decompression bomb: a small file that would fill the memory."""
MOST_BYTES = 1 << 28
"""A file that is larger is none of a picture of that many pixels, compressed or not."""
DAMAGES = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""What pillow raises for files that are truncated or damaged (its PNG reader raises SyntaxError)."""

Array = np.ndarray[Any, Any]


def decode_image(
    source: Path | bytes,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int,
    name: str | None = None,
) -> Array:
    """Return a picture as uint8 [channels, height, width], resized (bilinear) where it has another size.

    Without `height` and `width` it keeps its own size. `channels` is 3 (red, green, blue) or 1 (grey). `name` is what
    errors call it, else its path. Raises DataError for what is no picture, or a broken one.
    """
    with quietly():
        return decoded(source, height=height, width=width, channels=channels, name=name)


@contextmanager
def quietly() -> Generator[None]:
    """Silence what pillow warns of (palettes, EXIF data that it skips); for the whole process, so not in a thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decoded(
    source: Path | bytes, *, height: int | None, width: int | None, channels: int, name: str | None = None
) -> Array:
    """Do the work of `decode_image`, in any thread, while someone is `quietly`."""
    from PIL import Image  # noqa: PLC0415  start-up time

    where = name or ("the picture" if isinstance(source, bytes) else str(source))
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(_bomb(where, f"{image.width:,} x {image.height:,} pixels"))
            return _pixels(image, height=height, width=width, mode=MODES[channels])
    except Image.DecompressionBombError as error:
        raise DataError(_bomb(where, "far too many pixels")) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{where}: no picture: expected {', '.join(FORMATS)}.") from error
    except FileNotFoundError as error:
        raise DataError(f"{where}: there is no such file.") from error
    except DAMAGES as error:
        raise DataError(f"{where}: a broken picture ({str(error) or type(error).__name__}).") from error


def _bomb(where: str, claim: str) -> str:
    return f"{where}: it claims {claim}, and a picture of more than {MOST_PIXELS:,} is taken for a decompression bomb."


def _pixels(image: Any, *, height: int | None, width: int | None, mode: str) -> Array:
    from PIL import Image, ImageOps  # noqa: PLC0415  start-up time

    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits a pixel, which `convert` would clip to 8
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) >> 8).astype(np.uint8))
    if image.mode != mode:
        image = image.convert(mode)
    if height is not None and width is not None and image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None].copy() if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
