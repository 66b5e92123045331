"""From what a person has (pictures, rows of a table, arrays) to what a trained network takes.

How is recorded with the run, as the `encoding` of its data, so that the data themselves are not needed. Arrays are
taken as they were in the dataset: training's normalisation is part of the trained model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from shoal.datasets.arrays import DAMAGES
from shoal.datasets.columns import encode, remarks
from shoal.datasets.convert import to_tensor
from shoal.datasets.image_decode import decode_image
from shoal.datasets.table_file import arrow, read_rows
from shoal.errors import InputError
from shoal.files import expanded

ARRAYS = {".npy", ".npz"}
FULL = 255
"""The value of a pixel that is full, in a file."""


@dataclass(frozen=True)
class RawInputs:
    """Inputs [N, *input_shape], what each is called (a file, or a row of one), and what is to be said of them."""

    values: Tensor
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


Encoding = Mapping[str, Any]


def _picture(path: Path, encoding: Encoding) -> RawInputs:
    """A picture of any size, at the size and the levels of those that were trained on."""
    height, width, channels = (int(encoding[name]) for name in ("height", "width", "channels"))
    pixels = torch.from_numpy(decode_image(path, height=height, width=width, channels=channels))
    levels = int(encoding["levels"])
    return RawInputs((pixels if levels == FULL else pixels * (levels / FULL))[None], (str(path),))


def _rows_of_file(path: Path, encoding: Encoding) -> RawInputs:
    return _rows(read_rows(path, encoding), str(path), encoding)


def _rows(table: Any, where: str, encoding: Encoding) -> RawInputs:
    values = torch.from_numpy(encode(encoding, table, where=where))
    names = tuple(f"{where}, row {row}" for row in range(len(values)))
    return RawInputs(values, names, tuple(remarks(encoding, table, where=where)))


READERS: dict[str, Callable[[Path, Encoding], RawInputs]] = {"image": _picture, "table": _rows_of_file}
"""How files are read that are no arrays, by the `kind` of the encoding."""


def read_inputs(source: Any, facts: Mapping[str, Any]) -> RawInputs:
    """Return inputs for a run whose record of its data is `facts`, from paths, an array, or rows.

    A path is a file, or a folder whose files are inputs; rows are a pandas frame, a pyarrow Table, or a mapping of
    columns. Raises InputError for what is not such an input.
    """
    paths = _paths(source)
    if paths is None:
        encoding: Encoding = facts.get("encoding") or {}
        table = _table(source) if encoding.get("kind") == "table" else None
        return _array(source, "the inputs", facts) if table is None else _rows(table, "the rows", encoding)
    found = [_read(file, facts) for path in paths for file in _files(path, facts)]
    return RawInputs(
        torch.cat([one.values for one in found]),
        tuple(name for one in found for name in one.names),
        tuple(note for one in found for note in one.notes),
    )


def _table(source: Any) -> Any:
    """A frame, a table or a mapping of columns as a pyarrow Table; None for what is none of them."""
    if isinstance(source, Mapping):
        return arrow().table(dict(cast("Mapping[str, Any]", source)))
    if isinstance(source, arrow().Table):
        return source
    return arrow().Table.from_pandas(source, preserve_index=False) if hasattr(source, "iloc") else None


def _paths(source: Any) -> list[Path] | None:
    """The paths that a source is, or None where it is something else."""
    several = cast("Sequence[Any]", source) if isinstance(source, list | tuple) else [source]
    if not several or not all(isinstance(item, str | Path) for item in several):
        return None
    return [expanded(item) for item in several]


def _files(path: Path, facts: Mapping[str, Any]) -> Iterable[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file. This run predicts from {expected(facts)}.")
    inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not inside:
        raise InputError(
            f"{path}: the folder has no files in it, and folders in it are not searched: name them. This run predicts "
            f"from {expected(facts)}."
        )
    return inside


def _read(path: Path, facts: Mapping[str, Any]) -> RawInputs:
    if path.suffix.lower() in ARRAYS:
        return _array(_stored(path), str(path), facts)
    encoding: Encoding = facts.get("encoding") or {}
    reader = READERS.get(encoding.get("kind", ""))
    if reader is None:
        raise InputError(f"{path}: this run predicts from {expected(facts)}.")
    return reader(path, encoding)


def expected(facts: Mapping[str, Any]) -> str:
    """Return what the inputs of a run are, in words."""
    shape = facts["input_shape"]
    arrays = f"arrays of shape {shape} or {['N', *shape]} in .npy files".replace("'", "")
    encoding: Encoding = facts.get("encoding") or {}
    words = {"image": "files of pictures, or ", "table": "rows of a CSV or Parquet file, or "}
    return words.get(encoding.get("kind", ""), "") + arrays


def _stored(path: Path) -> Any:
    """The array of an NPY file, or the one array of an NPZ file, or that named x."""
    try:
        with path.open("rb") as file:  # NumPy leaves a damaged NPZ file open
            return _sole(path, np.load(file, allow_pickle=False))
    except DAMAGES as error:
        raise InputError(f"{path}: no array can be read from it ({error}).") from error


def _sole(path: Path, found: Any) -> Any:
    if not isinstance(found, np.lib.npyio.NpzFile):
        return found
    name = "x" if "x" in found.files else found.files[0] if len(found.files) == 1 else None
    if name is None:
        raise InputError(f"{path}: expected one array, or one named x; it has {', '.join(found.files) or 'none'}.")
    return cast("Any", found[name])


def _array(value: Any, where: str, facts: Mapping[str, Any]) -> RawInputs:
    given, shape = to_tensor(value, where), tuple(facts["input_shape"])
    if tuple(given.shape) == shape:
        return RawInputs(given[None], (where,))
    if shape[0] == 1 and given.ndim > 1 and tuple(given.shape[1:]) == shape[1:]:
        given = given[:, None]  # [N, H, W]: pictures of one channel without it
    if tuple(given.shape[1:]) != shape or not len(given):
        raise InputError(f"{where}: shape {list(given.shape)}. This run predicts from {expected(facts)}.")
    return RawInputs(given, tuple(f"{where}, row {row}" for row in range(len(given))))
