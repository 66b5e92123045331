"""From the files of pictures to raw pixels on disk: `<split>.pixels`, uint8 [N, C, H, W], and `<split>.labels`, int64.

Pictures are decoded in the order in which their source is read fastest, each into its own place. Threads decode where
that pays: on two cores they take 0.6 times as long over pictures of 512x512, and 2.4 times as long over those of 32x32,
whose time goes to Python, not to decompression.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from shoal.datasets.image_decode import MOST_BYTES, decoded, quietly
from shoal.datasets.image_layout import Layout
from shoal.datasets.image_source import Source
from shoal.datasets.kept import ensure_space
from shoal.datasets.progress import counting
from shoal.errors import DataError

THREADED_BYTES = 1 << 14
"""Files of this mean size and more are decoded by threads."""
AHEAD = 4
"""Pictures in flight for each thread."""
NAMED = 5
"""Broken pictures that are named; the others are counted."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Wanted:
    """How pictures are to be decoded: to `size` x `size`, or as they are where it is None."""

    size: int | None
    channels: int
    skip_broken: bool


@dataclass
class _Split:
    """One split as it is written: the file of its pixels, its labels, and the rows that hold a picture."""

    path: Path
    labels: Array
    good: Array
    file: int

    def put(self, row: int, pixels: Array) -> None:
        """Write one picture; not through a memory map, in which a full disk would kill the process."""
        if os.pwrite(self.file, pixels.data, row * pixels.nbytes) != pixels.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.good[row] = True


def write_pixels(folder: Path, source: Source, layout: Layout, wanted: Wanted) -> dict[str, Any]:
    """Write the pixels and labels of each split into `folder`; return their shape, counts and what was broken.

    Raises DataError for a broken picture (unless those are skipped), pictures of several sizes, too small a disk.
    """
    places = {name: (split, row) for split, found in layout.splits.items() for row, (name, _) in enumerate(found)}
    names = source.in_order(list(places))
    _check_sizes(source, names)
    broken: list[str] = []
    with quietly():
        first, shape = _shape(source, names, wanted)
        ensure_space(folder, len(places) * (prod(shape) + 8))
        with _open(folder, layout, shape) as splits, counting("decoding pictures", len(names)) as show:
            for done, (name, pixels) in enumerate(_decode_all(source, names, wanted, broken), 1):
                split, row = places[name]
                if pixels is not None:
                    _check_shape(source, name, pixels, shape, first)
                    splits[split].put(row, pixels)
                show(done)
        counts = {split: _finish(found, shape, layout.classes) for split, found in splits.items()}
    return {"shape": list(shape), "counts": counts, "broken": len(broken), "broken_names": sorted(broken)[:NAMED]}


def _check_sizes(source: Source, names: list[str]) -> None:
    """Files are read whole: one that is far too large is refused before it is."""
    for name in names:
        if source.size(name) > MOST_BYTES:
            raise DataError(
                f"{source.where}: {name} has {source.size(name):,} bytes, and a picture of more than {MOST_BYTES:,} is "
                "taken for a decompression bomb. Remove it."
            )


@contextmanager
def _open(folder: Path, layout: Layout, shape: tuple[int, ...]) -> Generator[dict[str, _Split]]:
    with ExitStack() as stack:
        splits: dict[str, _Split] = {}
        for split, found in layout.splits.items():
            labels = np.array([label for _, label in found], dtype=np.int64)
            path = folder / f"{split}.pixels"
            file = stack.enter_context(path.open("wb"))
            file.truncate(len(found) * prod(shape))
            splits[split] = _Split(path, labels, np.zeros(len(found), dtype=bool), file.fileno())
        yield splits
        for found in splits.values():
            os.fsync(found.file)


def _decode_all(
    source: Source, names: list[str], wanted: Wanted, broken: list[str]
) -> Iterator[tuple[str, Array | None]]:
    """Yield every picture in the order of `names`; None, and its name in `broken`, for one that is to be skipped."""

    def decode(name: str, content: bytes) -> Array | None:
        try:
            where = f"{source.where}: {name}"
            return decoded(content, height=wanted.size, width=wanted.size, channels=wanted.channels, name=where)
        except DataError as error:
            if not wanted.skip_broken:
                raise DataError(f"{error} Mend or remove it; or leave such out: dataset.broken=skip.") from error
            broken.append(name)
            return None

    mean = sum(map(source.size, names)) / len(names)
    threads = _cores() if mean >= THREADED_BYTES else 1
    together = _in_threads(decode, source, names, threads) if threads > 1 else map(decode, names, source.read(names))
    yield from zip(names, together, strict=True)


def _in_threads(
    decode: Callable[[str, bytes], Array | None], source: Source, names: list[str], threads: int
) -> Iterator[Array | None]:
    """Decode in threads, in order, with a bounded number of pictures read ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Array | None]] = deque()
        try:
            for name, content in zip(names, source.read(names), strict=True):
                waiting.append(pool.submit(decode, name, content))
                if len(waiting) >= AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _shape(source: Source, names: list[str], wanted: Wanted) -> tuple[str, tuple[int, ...]]:
    """The shape of every example, as asked, or that of the first picture that can be read; and that picture's name."""
    if wanted.size is not None:
        return names[0], (wanted.channels, wanted.size, wanted.size)
    for name, pixels in _decode_all(source, names, wanted, []):
        if pixels is not None:
            return name, pixels.shape
    raise DataError(f"{source.where}: all {len(names):,} pictures are broken. Are they pictures at all?")


def _check_shape(source: Source, name: str, pixels: Array, shape: tuple[int, ...], first: str) -> None:
    if pixels.shape != shape:
        (height, width), (expected_height, expected_width) = pixels.shape[1:], shape[1:]
        raise DataError(
            f"{source.where}: {name} has {width}x{height} pixels and {first} has {expected_width}x{expected_height}: "
            f"expected one size. Say to which size all are to be brought: dataset.size={min(shape[1:])}."
        )


def _finish(found: _Split, shape: tuple[int, ...], classes: tuple[str, ...]) -> int:
    """Close the gaps that broken pictures left, write the labels, return the number of examples."""
    rows = np.flatnonzero(found.good)
    lost = set(found.labels.tolist()) - set(found.labels[rows].tolist())
    if lost:
        raise DataError(
            f"{found.path.stem}: all pictures of the class {classes[min(lost)]} are broken: expected one that can be "
            "read. Mend them, or remove the class."
        )
    if len(rows) < len(found.good):
        pixels: Array = np.memmap(found.path, np.uint8, "r+", shape=(len(found.good), *shape))
        for row, kept in enumerate(rows):
            pixels[row] = pixels[kept]
        del pixels
        os.truncate(found.path, len(rows) * prod(shape))
    found.labels[rows].tofile(found.path.with_suffix(".labels"))
    return len(rows)


def mapped(folder: Path, facts: Mapping[str, Any]) -> dict[str, tuple[Array, Array]]:
    """Return the pixels (mapped, copy on write, not read) and labels of each split that `write_pixels` wrote."""
    pairs: dict[str, tuple[Array, Array]] = {}
    for split, count in facts["counts"].items():
        pixels: Array = np.memmap(folder / f"{split}.pixels", np.uint8, "c", shape=(count, *facts["shape"]))
        pairs[split] = pixels, np.fromfile(folder / f"{split}.labels", np.int64)
    return pairs
