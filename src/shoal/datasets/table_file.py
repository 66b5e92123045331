"""Tables from files: CSV (separated by commas, semicolons or tabs, plain or gzipped), Parquet, Feather (Arrow).

Here is how a file becomes a pyarrow Table with clean column names; what its columns mean is in `columns`. pyarrow is
imported when a table is first read, for it takes a while.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Collection, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from shoal.datasets.claims import check_claim, memory_bytes
from shoal.datasets.digest import SPLITS
from shoal.errors import DataError, nearest
from shoal.files import expanded

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".feather", ".arrow")
EXPECTED = f"a file ({', '.join(SUFFIXES)}), or a folder with train.csv or train.parquet (and valid., test.)"
LONGEST_HEADER = 1 << 20
"""Bytes of a first line, in which the columns are named."""
NUMBER = 4
"""Bytes of a value in what is trained on, at least."""
LONGEST_NUMBER = 25
"""Characters that a number has in a text, with the comma behind it, at most."""
READ = 8
"""Bytes of a number that pyarrow has read from a text."""
PACKED = 1032
"""Bytes that gzip makes one of, at most."""
BLOCK = 1 << 20


def arrow() -> Any:
    """Return pyarrow with those of its modules that are used here."""
    for name in ("compute", "csv", "feather", "parquet"):
        import_module(f"pyarrow.{name}")
    return import_module("pyarrow")


def files_of(path: str | None) -> dict[str, Path]:
    """Return the file of each split at `dataset.path`; raises DataError where there is none of train."""
    if path is None:
        raise DataError(f"dataset.path is not set: expected {EXPECTED}. Say where it is: dataset.path=FILE.")
    place = expanded(path)
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        close = nearest(place.name, [file.name for file in place.parent.glob("*")]) if place.parent.is_dir() else None
        hint = f"did you mean {place.parent / close}? " if close else ""
        raise DataError(f"dataset.path = {path!r}: does not exist: {hint}Expected {EXPECTED}.")
    found = {split: [place / f"{split}{suffix}" for suffix in SUFFIXES] for split in SPLITS}
    files = {split: [file for file in files if file.is_file()] for split, files in found.items()}
    for split, several in files.items():
        if len(several) > 1:
            raise DataError(
                f"{place}: it has {' and '.join(file.name for file in several)}: expected one file for {split}. "
                "Keep one of them, or name the file: dataset.path=FILE."
            )
    if not files["train"]:
        raise DataError(f"dataset.path = {path!r}: has no train.csv or train.parquet; expected {EXPECTED}.")
    return {split: several[0] for split, several in files.items() if several}


def read_rows(path: str | Path, encoding: Mapping[str, Any] | None = None) -> Any:
    """Return the pyarrow Table of a file; raises DataError for what is none.

    The types of a CSV file's columns are found by looking at all of its rows; with the `encoding` of a run, columns
    that were text in train are read as text, so that "01" stays "01". Column names lose the blanks around them.
    """
    path = expanded(path)
    pa, kind = arrow(), _kind(path)
    try:
        table = _read(pa, path, kind, _texts_of(encoding))
        table.validate(full=True)  # offsets that lead out of the file would be followed
    except MemoryError as error:
        raise DataError(f"{path}: there is not enough memory for what is in it ({error}).") from error
    except (pa.ArrowException, csv.Error, zlib.error, OSError, EOFError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        advice = "Write it again, or give its suffix the name of what it is"
        raise DataError(f"{path}: not a sound {kind} file ({reason}). {advice}: {', '.join(SUFFIXES)}.") from error
    return _checked(path, table.rename_columns([name.strip() for name in table.column_names]))


def _kind(path: Path) -> str:
    kinds = {".csv": "CSV", ".tsv": "CSV", ".parquet": "Parquet", ".feather": "Feather", ".arrow": "Feather"}
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if not path.is_file():
        raise DataError(f"{path}: there is no such file: expected {EXPECTED}.")
    if f".{suffix}" not in kinds:
        raise DataError(f"{path}: what is in it is not known from its name: expected {', '.join(SUFFIXES)}.")
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty: expected a table with a row of column names.")
    return kinds[f".{suffix}"]


def _read(pa: Any, path: Path, kind: str, texts: Collection[str]) -> Any:
    if kind == "Parquet":
        file = pa.parquet.ParquetFile(path)
        check_claim(file.metadata.num_rows * file.metadata.num_columns * NUMBER, path)
        return file.read()
    if kind == "Feather":
        return pa.feather.read_table(str(path), memory_map=False)
    separator, names = _header(path)
    _check_values(path, separator)
    return pa.csv.read_csv(
        str(path),
        parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            strings_can_be_null=True, column_types={name: pa.string() for name in names if name.strip() in texts}
        ),
    )


def _header(path: Path) -> tuple[str, list[str]]:
    """The separator and the column names, as written in the first line."""
    with _opened(path) as file:
        start = file.readline(LONGEST_HEADER + 1)
    if len(start) > LONGEST_HEADER:
        raise DataError(
            f"{path}: its first line has more than {LONGEST_HEADER:,} bytes: expected a row of column names."
        )
    line = start.decode("utf-8-sig", "replace").rstrip("\r\n")
    unquoted = re.sub(r'"[^"]*"', "", line)
    separator = max(",;\t", key=unquoted.count)
    return separator, [name for names in csv.reader([line], delimiter=separator) for name in names]


def _check_values(path: Path, separator: str) -> None:
    """Raise DataError for a text of more values than fit into memory; where it may have as many they are counted.

    A value that is read takes 8 bytes, and one that is longer than any number is a text, of which every byte is kept.
    """
    size, most = path.stat().st_size, memory_bytes()
    if not _is_packed(path):
        check_claim(size // LONGEST_NUMBER * NUMBER, path)
    if size * (PACKED if _is_packed(path) else 1) * READ <= most:
        return
    length = values = 0
    with _opened(path) as file:
        while block := file.read(BLOCK):
            length += len(block)
            values += block.count(separator.encode()) + block.count(b"\n")
            if values * READ + max(0, length - values * LONGEST_NUMBER) > most:
                raise DataError(
                    f"{path}: its first {length / 1e6:,.0f} MB of text have {values:,} values, which are more than the "
                    f"{most / 1e9:,.1f} GB of memory hold: too much for this machine, or made to fill it. Nothing of "
                    "it was kept."
                )


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if _is_packed(path) else path.open("rb")


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _texts_of(encoding: Mapping[str, Any] | None) -> set[str]:
    if encoding is None:
        return set()
    described = chain(encoding["columns"], encoding["targets"]["columns"])
    return {str(column["name"]) for column in described if column["type"] == "text"}


def _checked(path: Path, table: Any) -> Any:
    names: list[str] = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}: several columns are called {twice[0]!r}: expected a name for each. Rename all but one."
        )
    if not table.num_rows:
        raise DataError(f"{path}: there are no rows in it: expected one for each example, below the column names.")
    return table
