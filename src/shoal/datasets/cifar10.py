"""CIFAR-10 as its authors publish it: the binary or the Python archive, packed or unpacked.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html.
60,000 colour pictures of 32x32 in ten classes: 50,000 in five batches to train on, 10,000 to test. The same pictures
as JPEG or PNG files in class folders are read by `image_folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shoal.datasets import archive
from shoal.datasets.cifar10_pickle import MOST_BYTES, read_batch
from shoal.datasets.examples import Data, picture_encoding
from shoal.datasets.places import existing
from shoal.datasets.prepare import prepare
from shoal.errors import DataError
from shoal.recipe.parts import DatasetPart

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
VALUES = 3 * 32 * 32
"""Bytes of a picture: all of red row by row, then green, then blue."""
BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
COUNT = 10_000
"""Pictures of a batch as published."""
EXPECTED = (
    "cifar-10-binary.tar.gz, cifar-10-python.tar.gz, or the folder in one of them, with "
    "data_batch_1 to data_batch_5 and test_batch"
)

Array = np.ndarray[Any, Any]


def build(part: DatasetPart) -> Data:
    """Return the pictures of an archive or a folder; raises DataError for files that are missing or damaged."""
    place = existing(part.path, EXPECTED)
    contents = _from_folder(place) if place.is_dir() else _from_archive(place)
    batches = {name: _batch(name, content, f"{place}: {name}") for name, content in contents}
    pairs = {split: _joined([batches[_stored(name, batches)] for name in names]) for split, names in BATCHES.items()}
    odd = [f"{name} has {len(labels):,}" for name, (_, labels) in batches.items() if len(labels) != COUNT]
    notes = [f"not the published {COUNT:,} pictures a batch: {', '.join(odd)}"] if odd else []
    return prepare(pairs, part, notes=notes, labels=CLASSES, encoding=picture_encoding(SHAPE))


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    try:
        inner = sorted(path.parent for path in folder.glob("*/test_batch*"))
        files = {path.name: path for path in (inner[0] if inner else folder).iterdir() if path.is_file()}
        for name in _wanted(folder, {name: path.stat().st_size for name, path in files.items()}):
            yield name, files[name].read_bytes()
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}.") from error


def _from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    members = {name.rpartition("/")[2]: member for name, member in archive.listing(path).files.items()}
    names = _wanted(path, {name: member.size for name, member in members.items()})
    names.sort(key=lambda name: members[name].offset)
    yield from zip(names, archive.contents(path, [members[name] for name in names]), strict=True)


def _wanted(where: Path, sizes: Mapping[str, int]) -> list[str]:
    """The names of the six batches, in their order; raises DataError for one that is missing or far too large."""
    names = [_stored(name, sizes, where) for batches in BATCHES.values() for name in batches]
    for name in names:
        if sizes[name] > MOST_BYTES:
            raise DataError(f"{where}: {name} has {sizes[name]:,} bytes: expected a batch of CIFAR-10, of 31 MB.")
    return names


def _stored(name: str, present: Mapping[str, Any], where: Path | None = None) -> str:
    """What a batch is called: with .bin in the binary archive, plain in the Python one."""
    found = next((stored for stored in (f"{name}.bin", name) if stored in present), None)
    if found is None:
        raise DataError(f"{where}: {name}.bin (or {name}) is missing: expected {EXPECTED}.")
    return found


def _batch(name: str, content: bytes, where: str) -> tuple[Array, Array]:
    """Pictures [N, 3, 32, 32] and labels [N] of one batch."""
    reader: Callable[[bytes, str], tuple[Array, Array]] = _binary if name.endswith(".bin") else _pickled
    pixels, labels = reader(content, where)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))
    if len(wrong):
        raise DataError(
            f"{where}: picture {wrong[0]:,} (they count from 0) has the label {labels[wrong[0]]}: expected 0 to "
            f"{len(CLASSES) - 1}. Fetch the archive again."
        )
    return pixels.reshape(-1, *SHAPE), labels


def _binary(content: bytes, where: str) -> tuple[Array, Array]:
    """Records of a byte for the label and 3,072 for the picture."""
    whole, left = divmod(len(content), 1 + VALUES)
    if left or not whole:
        raise DataError(
            f"{where}: {len(content):,} bytes: expected a multiple of {1 + VALUES:,}, a label and {VALUES:,} values a "
            "picture: truncated or damaged. Fetch the archive again."
        )
    records = np.frombuffer(content, np.uint8).reshape(whole, 1 + VALUES)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _pickled(content: bytes, where: str) -> tuple[Array, Array]:
    pixels, labels = read_batch(content, where)
    if pixels.shape[1] != VALUES or not len(pixels):
        raise DataError(f"{where}: data of shape {pixels.shape}: expected {VALUES:,} values a picture.")
    if len(labels) != len(pixels):
        raise DataError(f"{where}: {len(pixels):,} pictures and {len(labels):,} labels: expected as many of each.")
    if not all(type(label) is int and abs(label) < 1 << 31 for label in labels):
        raise DataError(f"{where}: a label that is no whole number: expected 0 to {len(CLASSES) - 1}.")
    return pixels, np.array(labels, dtype=np.int64)


def _joined(batches: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([pixels for pixels, _ in batches]), np.concatenate([labels for _, labels in batches])
