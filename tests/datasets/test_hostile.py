"""Data files made to do harm: refused in a sentence, in little memory, and nothing in them runs."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import feather, parquet
from tests.datasets.pictures import class_folders, encoded, pixels
from tests.datasets.test_cifar10 import PYTHON, archived, unpacked
from tests.datasets.test_image_decode import bomb
from tests.limited import MORE, limited, needs_limits

from shoal.assembly.raw_inputs import read_inputs
from shoal.datasets import build, claims
from shoal.errors import DataError, InputError
from shoal.recipe import parts

pytestmark = needs_limits

LARGE = 2 * MORE
"""Bytes that a bomb unpacks to."""
Make = Callable[[Path], Path]
X, Y = np.zeros((4, 3), "f4"), np.zeros(4, "i8")


def zeros(file: io.BufferedIOBase, count: int = LARGE) -> None:
    for _ in range(count >> 20):
        file.write(bytes(1 << 20))


def npy(shape: str, descr: str = "'<f4'", content: bytes = bytes(64)) -> bytes:
    """Return an NPY file whose header says what it likes."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


HEADERS: dict[str, bytes] = {
    "a petabyte": npy("(250000000000000,)"),
    "more than an address": npy(f"({10**30},)"),
    "less than nothing": npy("(-5,)"),
    "many axes": npy(f"({'1,' * 100})"),
    "no shape": npy("('a',)"),
    "a wide dtype": npy("(4,)", descr=f"'V{2**31 - 1}'"),
    "a dtype of no width": npy("(4,)", descr="'V0'"),
    "a deep header": npy("(" * 90 + ")" * 90),
    "code": npy("(__import__('os').mkdir('trap'),)"),
    "objects": npy("(1,)", descr="'|O'", content=pickle.dumps([1])),
    "objects within": npy("(1,)", descr="[('a', '|O')]", content=pickle.dumps([1])),
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "a version to come": b"\x93NUMPY\x09\x00" + bytes(64),
}


def npz_of(content: bytes) -> Make:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.npz", "w") as file:
            file.writestr("x.npy", content)
            file.writestr("y.npy", npy("(16,)"))
        return folder / "a.npz"

    return make


def folder_of(content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / "x.npy").write_bytes(content)
        np.save(folder / "y.npy", Y)
        return folder

    return make


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("place", [npz_of, folder_of], ids=["npz", "npy"])
def test_an_array_is_what_is_in_the_file_not_what_its_header_says(
    header: str, place: Callable[[bytes], Make], tmp_path: Path
) -> None:
    path = place(HEADERS[header])(tmp_path)
    outcome = limited(lambda: build(parts.Arrays(path=str(path))))
    assert outcome.error == "DataError", outcome
    (tmp_path / "one.npy").write_bytes(HEADERS[header])
    outcome = limited(lambda: read_inputs(tmp_path / "one.npy", {"input_shape": [3]}))
    assert outcome.error in ("InputError", "DataError"), outcome
    assert not (Path.cwd() / "trap").exists()


def deflated_npz(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("x.npy", "w") as member:
            member.write(npy(f"({LARGE // 4},)", content=b""))
            zeros(member)
        file.writestr("y.npy", npy("(16,)"))
    return folder / "a.npz"


def idx_gzip(folder: Path) -> Path:
    files = {("train", 3): (LARGE >> 20, 1024, 1024), ("t10k", 3): (1, 1, 1), ("train", 1): (1,), ("t10k", 1): (1,)}
    for (split, axes), shape in files.items():
        name = f"{split}-{'images' if axes == 3 else 'labels'}-idx{axes}-ubyte.gz"
        with gzip.open(folder / name, "wb", compresslevel=1) as file:
            file.write(b"\0\0\x08" + bytes([axes]) + struct.pack(f">{axes}I", *shape) + b"\0")
            zeros(file, LARGE if shape[-1] == 1024 else 0)
    return folder


def long_name(folder: Path) -> Path:
    """A tar whose member has a name of a quarter of a gigabyte, in a quarter of a megabyte."""
    with gzip.open(folder / "a.tar.gz", "wb", compresslevel=1) as file:
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, LARGE
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        zeros(file)
        file.write(tarfile.TarInfo("x").tobuf() + bytes(1024))
    return folder / "a.tar.gz"


def large_member(folder: Path) -> Path:
    """A tar with a picture of a quarter of a gigabyte of nothing, in a quarter of a megabyte."""
    class_folders(folder / "pets")
    with gzip.open(folder / "a.tar.gz", "wb", compresslevel=1) as file:
        for name in ("cat/0.png", "dog/0.png"):
            found = tarfile.TarInfo(name)
            found.size = LARGE + 1 if name.startswith("dog") else 0
            file.write(found.tobuf())
            zeros(file, found.size)
        file.write(bytes(512 + 1024))
    return folder / "a.tar.gz"


def picture_bomb(folder: Path) -> Path:
    class_folders(folder / "pets")
    (folder / "pets" / "dog" / "1.png").write_bytes(bomb(8_000))  # 192 MB of pixels
    (folder / "pets" / "dog" / "2.png").write_bytes(bomb(60_000))
    return folder / "pets"


def sparse_picture(folder: Path) -> Path:
    class_folders(folder / "pets")
    os.truncate(folder / "pets" / "dog" / "1.png", 1 << 40)
    return folder / "pets"


def bmp_bomb(folder: Path) -> Path:
    class_folders(folder / "pets")
    content = bytearray(encoded(pixels(0), "BMP"))
    content[18:26] = struct.pack("<ii", 1 << 30, 1 << 30)
    (folder / "pets" / "dog" / "1.bmp").write_bytes(content)
    return folder / "pets"


def cifar(harm: bytes) -> Make:
    def make(folder: Path) -> Path:
        inner = unpacked(folder, PYTHON)
        (inner / "data_batch_2").write_bytes(harm)
        return archived(inner)

    return make


def parquet_bomb(folder: Path) -> Path:
    """A column of one value, repeated: a few bytes a million of them."""
    table = pyarrow.table({"x": np.zeros(1 << 20, "i8"), "y": np.zeros(1 << 20, "i8")})
    with parquet.ParquetWriter(folder / "a.parquet", table.schema, compression="zstd") as file:
        for _ in range(256):  # 4 GB in all: Arrow keeps what other tests gave back
            file.write_table(table)
    return folder / "a.parquet"


def feather_claim(folder: Path) -> Path:
    """A compressed buffer that says it is a petabyte."""
    path = folder / "a.feather"
    table = pyarrow.table({"x": np.arange(4096) % 3, "y": np.arange(4096) % 2})
    feather.write_feather(table, str(path), compression="zstd")
    content = path.read_bytes()
    length = struct.pack("<q", 4096 * 8)
    assert length + b"\x28\xb5\x2f\xfd" in content
    path.write_bytes(content.replace(length + b"\x28\xb5\x2f\xfd", struct.pack("<q", 1 << 50) + b"\x28\xb5\x2f\xfd"))
    return path


def feather_offsets(folder: Path) -> Path:
    """Texts whose offsets lead out of the file: followed, they would read the memory of the process."""
    path = folder / "a.feather"
    words = pyarrow.array(["one", "two", "three", "four"])
    feather.write_feather(pyarrow.table({"x": words, "y": [0, 1, 0, 1]}), str(path), compression="uncompressed")
    content, offsets = path.read_bytes(), struct.pack("<5i", 0, 3, 6, 11, 15)
    assert offsets in content
    path.write_bytes(content.replace(offsets, struct.pack("<5i", 0, 3, 6, 1 << 30, 1 << 30)))
    return path


def sparse_csv(folder: Path) -> Path:
    """A first line, and a terabyte of nothing."""
    path = folder / "a.csv"
    path.write_text("x,y\n")
    os.truncate(path, 1 << 40)
    return path


def gzipped(content: bytes, count: int) -> Make:
    def make(folder: Path) -> Path:
        with gzip.open(folder / "a.csv.gz", "wb", compresslevel=1) as file:
            for _ in range(count):
                file.write(content)
        return folder / "a.csv.gz"

    return make


def gzipped_rows(row: bytes) -> Make:
    """Rows that unpack to half a gigabyte or more."""

    def make(folder: Path) -> Path:
        rows = gzip.compress(row * (LARGE // 64 // len(row)), compresslevel=1)
        with (folder / "a.csv.gz").open("wb") as file:
            file.write(gzip.compress(b"x,y\n"))
            for _ in range(128):
                file.write(rows)
        return folder / "a.csv.gz"

    return make


def text_of_nothing(folder: Path) -> Path:
    (folder / "a.txt").touch()
    os.truncate(folder / "a.txt", 1 << 40)
    return folder / "a.txt"


BOMBS: dict[str, tuple[type[parts.DatasetPart], Make, str]] = {
    "npz": (parts.Arrays, deflated_npz, r"a\.npz: (x: there is not enough memory|it claims)"),
    "idx": (parts.Idx, idx_gzip, r"it claims [\d,.]+ GB of values"),
    "tar, a name": (parts.ImageFolder, long_name, r"the header of a member has more than 1,048,576 bytes"),
    "tar, a member": (parts.ImageFolder, large_member, r"dog/0\.png has 268,435,457 bytes, and a picture of more than"),
    "picture": (parts.ImageFolder, picture_bomb, "decompression bomb|broken picture|not enough memory"),
    "picture, sparse": (parts.ImageFolder, sparse_picture, r"dog/1\.png has 1,099,511,627,776 bytes"),
    "picture, BMP": (parts.ImageFolder, bmp_bomb, "decompression bomb|broken picture"),
    "cifar, a memo": (parts.Cifar10, cifar(b"\x80\x02}r\xff\xff\xff\x7f."), "a memo of 2,147,483,647 entries"),
    "cifar, a size": (parts.Cifar10, cifar(b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"."), "no pickle"),
    "parquet": (parts.Table, parquet_bomb, "not enough memory for what is in it|it claims"),
    "feather, a claim": (parts.Table, feather_claim, "not a sound Feather file|not enough memory"),
    "feather, offsets": (parts.Table, feather_offsets, "not a sound Feather file"),
    "csv, sparse": (parts.Table, sparse_csv, r"a\.csv: it claims [\d,.]+ GB of values"),
    "csv, a line": (parts.Table, gzipped(bytes(1 << 20), LARGE >> 20), "its first line has more than 1,048,576 bytes"),
    "csv, numbers": (parts.Table, gzipped_rows(b"0,1\n"), r"a\.csv\.gz: its first \d+ MB of text have [\d,]+ values"),
    "csv, texts": (parts.Table, gzipped_rows(b"x" * 999 + b",1\n"), r"more than the 0\.1 GB of memory hold"),
    "csv, a name": (parts.Table, gzipped(b"x" * 200_000, 1), "not a sound CSV file"),
    "text": (parts.PlainText, text_of_nothing, "not enough memory for the dataset text"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_in_little_memory(kind: str, tmp_path: Path) -> None:
    part, make, message = BOMBS[kind]
    (tmp_path / "data").mkdir()
    path = make(tmp_path / "data")
    keys = {"target": "y"} if part is parts.Table else {}
    outcome = limited(lambda: build(part(path=str(path), **keys), task="classification"))
    assert outcome.error == "DataError", outcome
    with pytest.raises(DataError, match=message):
        raise DataError(outcome.message)


def test_what_is_claimed_is_compared_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 << 28 < claims.memory_bytes() < 1 << 50
    claims.check_claim(1 << 20, "here")
    with pytest.raises(
        DataError, match=r"here: it claims 1,125,899\.9 GB of values, and there are [\d,.]+ GB of memory"
    ):
        claims.check_claim(1 << 50, "here")


@pytest.mark.parametrize("path", ["nul\0", "~nobody-of-this-name/x"])
@pytest.mark.parametrize(
    "part", [parts.Arrays, parts.Idx, parts.ImageFolder, parts.Cifar10, parts.Table, parts.PlainText]
)
def test_what_can_be_no_path_is_refused(part: type[parts.DatasetPart], path: str) -> None:
    with pytest.raises(InputError, match="can be no path"):
        build(part(path=path))
    with pytest.raises(InputError, match="can be no path"):
        read_inputs(path, {"input_shape": [3]})
