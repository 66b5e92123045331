"""One IDX file, the format of MNIST: a magic number, the sizes of the axes, then big-endian values.

Described at the end of http://yann.lecun.com/exdb/mnist. A gzipped file is decompressed straight into the array, which
is the only copy that is made.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from shoal.datasets.claims import check_claim
from shoal.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_COMPRESSED = 1_100
"""DEFLATE makes nothing smaller than a 1,032nd of it, so a header that claims more is wrong."""


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """Return the array in a file, gzipped where its name ends in .gz; raises DataError that names what is wrong."""
    zipped = path.suffix == ".gz"
    try:
        with cast(BinaryIO, gzip.open(path, "rb") if zipped else path.open("rb")) as file:
            return _read(file, path, zipped=zipped)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: not a sound gzip file ({error}). Fetch it again.") from error
    except EOFError as error:
        raise DataError(f"{path}: the gzip file is truncated: its end is missing. Fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _read(file: BinaryIO, path: Path, *, zipped: bool) -> np.ndarray[Any, Any]:
    shape, dtype = _header(file, path)
    expected = math.prod(shape) * dtype.itemsize
    present = path.stat().st_size - 4 - 4 * len(shape)
    if expected > (present * MOST_COMPRESSED if zipped else present):
        raise _wrong_size(
            path, shape, expected, f"{'at most ' * zipped}{present * (MOST_COMPRESSED if zipped else 1):,}"
        )
    check_claim(expected, path)
    array = np.empty(shape, dtype)
    found = _fill(file, array.reshape(-1).view(np.uint8).data)
    more = len(file.read(1 << 16))  # at the end of a gzip file this checks its CRC, too
    if found != expected or more:
        raise _wrong_size(path, shape, expected, f"more than {expected:,}" if more else f"{found:,}")
    return (
        array
        if dtype.itemsize == 1
        else array.byteswap(inplace=dtype.newbyteorder("=") != dtype).view(dtype.newbyteorder("="))
    )


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or magic[3] == 0:
        raise DataError(
            f"{path}: not an IDX file: it begins with {magic.hex(' ') or 'nothing'}; expected two zero bytes, "
            f"a type ({', '.join(f'{code:02x}' for code in TYPES)}) and the number of axes."
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path}: truncated in its header: expected the sizes of {magic[3]} axes. Fetch it again.")
    return struct.unpack(f">{magic[3]}I", sizes), np.dtype(TYPES[magic[2]])


def _fill(file: BinaryIO, target: memoryview) -> int:
    """Read until `target` is full or the file ends; return the bytes read."""
    found = 0
    while found < len(target):
        count = cast(Any, file).readinto(target[found : found + (1 << 20)])
        if not count:
            break
        found += count
    return found


def _wrong_size(path: Path, shape: tuple[int, ...], expected: int, found: str) -> DataError:
    axes = " x ".join(str(size) for size in shape)
    return DataError(
        f"{path}: its header says {axes}, so {expected:,} bytes of values are expected, and {found} are there: "
        "truncated or damaged. Fetch it again."
    )
