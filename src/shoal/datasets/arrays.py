"""NumPy arrays from files: one NPZ, or a folder of NPY files, which are memory-mapped and never copied.

Nothing is unpickled. A folder is mapped copy-on-write: the files stay as they are whatever is done to the arrays.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shoal.datasets.claims import check_claim
from shoal.datasets.digest import SPLITS
from shoal.datasets.examples import Data
from shoal.datasets.prepare import prepare
from shoal.errors import DataError, nearest
from shoal.files import expanded
from shoal.recipe.parts import DatasetPart

NAMES = tuple(f"{letter}_{split}" for split in SPLITS for letter in "xy")
EXPECTED = "x_train and y_train (or x and y), and where you have them x_valid, y_valid, x_test, y_test"
DAMAGES = (
    ValueError,
    TypeError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)
"""What NumPy and zipfile raise for a file that is truncated or damaged, or claims what is not in it."""

Array = np.ndarray[Any, Any]


def build(part: DatasetPart) -> Data:
    """Return the data of `part.path`; raises DataError for files that are missing, damaged or hold no numbers."""
    if part.path is None:
        raise DataError(
            f"dataset.path is not set: expected an NPZ file with the arrays {EXPECTED}, or a folder of NPY files with "
            "those names. Say where it is: dataset.path=PATH; or pass arrays from Python."
        )
    path = expanded(part.path)
    if path.is_dir():
        files = {file.stem: file for file in sorted(path.glob("*.npy"))}
        pairs, notes = _pairs(path, files, lambda name: _read(files[name], lambda: _mapped(files[name])))
        return prepare(pairs, part, notes=notes)
    if path.suffix != ".npz" or not path.is_file():
        what = "is no NPZ file" if path.is_file() else "does not exist"
        raise DataError(
            f"dataset.path = {part.path!r}: {what}; expected an NPZ file, or a folder of NPY files, with {EXPECTED}."
        )
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path}: not a sound NPZ file: it is truncated, or something else. Write it again with numpy.savez."
        )
    with _read(path, lambda: np.load(path, allow_pickle=False)) as stored:
        check_claim(sum(member.file_size for member in stored.zip.infolist()), path)
        pairs, notes = _pairs(path, stored.files, lambda name: _read(f"{path}: {name}", lambda: stored[name]))
    return prepare(pairs, part, notes=notes)


def _mapped(file: Path) -> Array:
    return np.load(file, mmap_mode="c", allow_pickle=False)


def _read(where: Any, reader: Callable[[], Any]) -> Any:
    """Call a reader; what NumPy and zipfile raise becomes a DataError that names the array."""
    try:
        return reader()
    except DAMAGES as error:
        if any(word in str(error) for word in ("Object arrays", "Python objects", "pickled")):
            raise DataError(
                f"{where}: Python objects, which are never unpickled. Store numbers: array.astype('float32')."
            ) from error
        if isinstance(error, MemoryError):
            raise DataError(f"{where}: there is not enough memory for what it says is in it ({error}).") from error
        raise DataError(
            f"{where}: truncated or damaged ({str(error) or type(error).__name__}). Write it again."
        ) from error


def _pairs(
    path: Path, names: Iterable[str], read: Callable[[str], Array]
) -> tuple[dict[str, tuple[Array, Array]], list[str]]:
    """The splits that are there, read, and a note on arrays that are left out."""
    present = _renamed(path, list(names))
    pairs: dict[str, tuple[Array, Array]] = {}
    for split in SPLITS:
        x, y = f"x_{split}", f"y_{split}"
        if (x in present) != (y in present):
            there, missing = (x, y) if x in present else (y, x)
            raise DataError(f"{path}: it has {present[there]} but not {missing}: expected {EXPECTED}.")
        if x in present:
            pairs[split] = read(present[x]), read(present[y])
    left = sorted(set(present) - set(NAMES))
    if "train" not in pairs:
        raise DataError(f"{path}: expected {EXPECTED}; found {', '.join(present.values()) or 'no arrays'}.")
    return pairs, [f"arrays left out: {', '.join(left)}"] if left else []


def _renamed(path: Path, names: list[str]) -> dict[str, str]:
    """The name in the file of each array, by the name it has here; x and y mean x_train and y_train."""
    present: dict[str, str] = {}
    for name in names:
        known = f"{name}_train" if name in ("x", "y") else name
        if known in present:
            raise DataError(f"{path}: it has both {name} and {present[known]}, which mean the same. Keep one of them.")
        if known not in NAMES and known[:2].lower() in ("x_", "y_"):
            close = nearest(known.lower(), NAMES)
            hint = f"did you mean {close}? " if close else ""
            raise DataError(f"{path}: unknown array {name}: {hint}Expected {EXPECTED}.")
        present[known] = name
    return present
