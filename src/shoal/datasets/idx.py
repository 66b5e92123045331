"""The MNIST family: a folder with the pictures and labels of train and test as IDX files, gzipped or not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from shoal.datasets.examples import Data, picture_encoding
from shoal.datasets.idx_file import read_idx
from shoal.datasets.prepare import prepare
from shoal.errors import DataError
from shoal.files import expanded
from shoal.recipe.parts import DatasetPart

NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
"""What MNIST calls its four files; each may end in .gz."""
PATTERN = re.compile(r"(?P<prefix>.+-)?(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-\w+?(?P<gz>\.gz)?")
"""Those, the dotted variant (train-images.idx3-ubyte), and EMNIST's prefixes (emnist-letters-train-...)."""


def build(part: DatasetPart) -> Data:
    """Return the data of a folder; pictures [H, W] get a channel axis. Raises DataError for a file that is missing."""
    folder = _folder(part.path)
    files = _find(folder)
    pairs = {split: _pair(files[split, "images"], files[split, "labels"]) for split in ("train", "test")}
    return prepare(pairs, part, encoding=_encoding(pairs["train"][0]))


def _encoding(images: np.ndarray[Any, Any]) -> dict[str, Any] | None:
    """How pictures are read where they are bytes, grey or in colour; values of other types have no known scale."""
    is_picture = images.dtype == np.uint8 and images.ndim == 4 and images.shape[1] in (1, 3)
    return picture_encoding(images.shape[1:]) if is_picture else None


def _folder(path: str | None) -> Path:
    if path is None:
        raise DataError(
            f"dataset.path is not set: expected a folder with {_expected()}. Say where it is: dataset.path=DIR."
        )
    folder = expanded(path)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(
            f"dataset.path = {path!r}: {what}; expected a folder with {_expected()}. Say where it is: dataset.path=DIR."
        )
    return folder


def _expected() -> str:
    *first, last = NAMES.values()
    return f"{', '.join(first)} and {last} (each may end in .gz)"


def _find(folder: Path) -> dict[tuple[str, str], Path]:
    """The four files, by split and content."""
    found: dict[tuple[str, str], dict[str, Path]] = {key: {} for key in NAMES}
    for path in sorted(folder.iterdir(), reverse=True):  # reversed, so that a plain file replaces its gzipped twin
        match = PATTERN.fullmatch(path.name)
        if match and path.is_file():
            split = "train" if match["split"] == "train" else "test"
            found[split, match["what"]][match["prefix"] or ""] = path
    missing = [NAMES[key] for key, files in found.items() if not files]
    if missing:
        raise DataError(
            f"{folder}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: "
            f"expected {_expected()}. Say where they are: dataset.path=DIR."
        )
    return {key: _only(folder, key, files) for key, files in found.items()}


def _only(folder: Path, key: tuple[str, str], files: dict[str, Path]) -> Path:
    if "" in files:
        return files[""]
    if len(files) > 1:
        names = ", ".join(sorted(path.name for path in files.values()))
        raise DataError(
            f"{folder}: several files could be the {key[1]} of {key[0]}: {names}. Keep one dataset in a folder."
        )
    return next(iter(files.values()))


def _pair(images_file: Path, labels_file: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim < 2:
        raise DataError(
            f"{images_file}: expected pictures, with 2 axes or more, found {images.ndim}: are these the labels?"
        )
    if labels.ndim != 1:
        raise DataError(f"{labels_file}: expected labels, with 1 axis, found {labels.ndim}: are these the pictures?")
    if len(images) != len(labels):
        raise DataError(
            f"{images_file} has {len(images):,} pictures and {labels_file} has {len(labels):,} labels: "
            "expected as many of each. They may be from different datasets."
        )
    return (images[:, None] if images.ndim == 3 else images), labels
