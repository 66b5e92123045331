"""CIFAR-10 in the layouts of its authors, made small: binary and Python, packed and unpacked."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from shoal.datasets import Data, build, cifar10
from shoal.errors import DataError
from shoal.recipe.parts import Cifar10

BINARY = "cifar-10-batches-bin"
PYTHON = "cifar-10-batches-py"
NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


class Python2(pickle._Pickler):
    """Pickles as Python 2 did: its `str` are bytes, and NumPy's functions have the names they had."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, content: bytes) -> None:
        short = len(content) < 256
        self.write(pickle.SHORT_BINSTRING if short else pickle.BINSTRING)
        self.write(struct.pack("<B" if short else "<i", len(content)) + content)
        self.memoize(content)

    def save_global(self, thing: Any, name: str | None = None) -> None:
        module = thing.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or thing.__name__}\n".encode())
        self.memoize(thing)

    dispatch[bytes] = save_bytes
    dispatch[type(len)] = dispatch[type(pickle.loads)] = dispatch[type] = save_global


def python2(value: Any) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue()


def batch(seed: int, count: int = 12) -> tuple[np.ndarray, list[int]]:
    source = np.random.default_rng(seed)
    labels = [label % 10 for label in range(count)]
    return source.integers(0, 256, (count, 3072), dtype=np.uint8), labels


def pickled(seed: int, **changes: Any) -> bytes:
    pixels, labels = batch(seed)
    fields: dict[str, Any] = {"batch_label": f"training batch {seed} of 5".encode(), "labels": labels, "data": pixels}
    fields |= {"filenames": [f"{number}.png".encode() for number in range(len(labels))], **changes}
    return python2({name.encode(): value for name, value in fields.items()})


def binary(seed: int) -> bytes:
    pixels, labels = batch(seed)
    return np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1).tobytes()


def unpacked(top: Path, inner: str) -> Path:
    folder = top / inner
    folder.mkdir(parents=True)
    for seed, name in enumerate(NAMES, 1):
        if inner == BINARY:
            (folder / f"{name}.bin").write_bytes(binary(seed))
        else:
            (folder / name).write_bytes(pickled(seed))
    (folder / ("batches.meta.txt" if inner == BINARY else "batches.meta")).write_bytes(b"airplane\n")
    (folder / "readme.html").write_bytes(b"<html>")
    return folder


def archived(folder: Path) -> Path:
    path = folder.parent / f"{folder.name}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return path


def load(place: Path, **keys: Any) -> Data:
    return build(Cifar10(path=str(place), valid=keys.pop("valid", 0), **keys))


def test_the_fixture_is_what_python_2_wrote() -> None:
    content = pickled(1)
    assert content.startswith(b"\x80\x02}q\x00(U\x0bbatch_labelq\x01U\x15training batch 1 of 5q\x02U\x06labelsq\x03]q")
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content
    assert b"cnumpy\nndarray\n" in content
    assert b"cnumpy\ndtype\n" in content
    assert b"_codecs" not in content


@pytest.mark.parametrize("inner", [BINARY, PYTHON])
@pytest.mark.parametrize("place", [lambda folder: folder, lambda folder: folder.parent, archived])
def test_pictures_and_labels_are_those_that_were_packed(
    inner: str, place: Callable[[Path], Path], tmp_path: Path
) -> None:
    data = load(place(unpacked(tmp_path / "cifar", inner)))
    assert data.sizes == {"train": 60, "test": 12}
    assert (data.input_shape, data.classes) == ((3, 32, 32), 10)
    assert data.labels[0] == "airplane"
    assert data.encoding == {"kind": "image", "channels": 3, "height": 32, "width": 32, "levels": 255}
    expected = np.concatenate([batch(seed)[0] for seed in range(1, 6)]).reshape(-1, 3, 32, 32)
    assert np.array_equal(data.splits["train"].inputs.numpy(), expected)
    assert data.splits["train"].targets.tolist() == [label % 10 for label in range(12)] * 5
    assert np.array_equal(data.splits["test"].inputs.numpy().reshape(12, -1), batch(6)[0])


def test_both_archives_are_the_same_data(tmp_path: Path) -> None:
    assert load(unpacked(tmp_path, BINARY)).digest == load(unpacked(tmp_path, PYTHON)).digest


def test_valid_is_cut_as_everywhere(tmp_path: Path) -> None:
    assert load(unpacked(tmp_path, BINARY), valid=10).sizes == {"train": 50, "valid": 10, "test": 12}


def test_batches_that_are_not_as_large_as_published_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = unpacked(tmp_path, BINARY)
    assert load(folder).notes[0].startswith("not the published 10,000 pictures a batch: data_batch_1.bin has 12, data")
    monkeypatch.setattr(cifar10, "COUNT", 12)
    (folder / "data_batch_3.bin").write_bytes(binary(3)[: 3073 * 7])
    assert load(folder).notes[0] == "not the published 12 pictures a batch: data_batch_3.bin has 7"


class Harm:
    """Pickled, it has a function called when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (os.mkdir, "posix.mkdir")],
    ids=["system", "eval", "mkdir"],
)
def test_a_pickle_that_would_run_something_is_refused_and_nothing_runs(
    packing: bool, function: Any, name: str, tmp_path: Path
) -> None:
    folder, trace = unpacked(tmp_path / "cifar", PYTHON), tmp_path / "trace"
    argument = {
        "system": f"touch {trace}",
        "eval": f"__import__('pathlib').Path({str(trace)!r}).touch()",
        "mkdir": str(trace),
    }
    harm = Harm(function, argument[function.__name__])
    content = pickle.dumps({b"data": harm, b"labels": [0]}, protocol=4)
    pickle.loads(content)  # it does harm where it is trusted
    assert trace.exists()
    trace.rmdir() if trace.is_dir() else trace.unlink()
    (folder / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError) as error:
        load(archived(folder) if packing else folder)
    assert f"data_batch_2: the pickle names {name}, and a batch of CIFAR-10 names nothing but NumPy's" in str(
        error.value
    )
    assert "Nothing of it was run." in str(error.value)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["numpy.load", "numpy.core.multiarray.fromfile", "numpy.f2py.os", "shoal.train"])
def test_other_functions_even_of_numpy_are_refused_by_name(name: str, tmp_path: Path) -> None:
    folder = unpacked(tmp_path, PYTHON)
    module, _, function = name.rpartition(".")
    (folder / "test_batch").write_bytes(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"(U\x01xtR.")
    with pytest.raises(DataError, match=f"test_batch: the pickle names {name}, and"):
        load(folder)


def test_numpys_own_functions_are_not_called_either(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, PYTHON)
    huge = b"\x80\x02cnumpy\nndarray\n(\x8a\x06\0\0\0\0\0\x10\x85tR."  # ndarray((1 << 44,)), were it NumPy's
    (folder / "test_batch").write_bytes(huge)
    with pytest.raises(DataError, match="test_batch: expected a dict with the keys 'data' and 'labels'"):
        load(folder)


PIXELS, LABELS = batch(2)
MISTAKES: dict[str, tuple[Any, str]] = {
    "a label that is too large": (
        pickled(2, labels=[*LABELS[:-1], 10]),
        r"picture 11 .* has the label 10: expected 0 to",
    ),
    "a label below zero": (pickled(2, labels=[-1, *LABELS[1:]]), r"picture 0 .* has the label -1: expected 0 to 9\."),
    "a label that is huge": (pickled(2, labels=[1 << 70, *LABELS[1:]]), r"a label that is no whole number"),
    "a label that is true": (pickled(2, labels=[True, *LABELS[1:]]), r"a label that is no whole number"),
    "a label too few": (pickled(2, labels=LABELS[1:]), r"12 pictures and 11 labels: expected as many of each\."),
    "labels that are no list": (pickled(2, labels=b"0"), r"expected a list of labels, found bytes"),
    "pictures of another size": (pickled(2, data=PIXELS[:, :-1].copy()), r"data of shape \(12, 3071\): expected 3,072"),
    "no pictures": (pickled(2, data=PIXELS[:0], labels=[]), r"data of shape \(0, 3072\): expected 3,072"),
    "pictures of floats": (pickled(2, data=PIXELS.astype("f4")), r"expected data that are an array of bytes with two"),
    "pictures in Fortran's order": (pickled(2, data=np.asfortranarray(PIXELS)), r"expected data that are an array of"),
    "one axis": (pickled(2, data=PIXELS.reshape(-1)), r"expected data that are an array of bytes with two axes"),
    "data that are no array": (pickled(2, data=b"x"), r"expected data that are an array of bytes with two axes"),
    "bytes that are missing": (
        pickled(2).replace(b"K\x0cM\x00\x0c\x86", b"K\x0dM\x00\x0c\x86"),
        r"its data say 13 x 3,072 bytes, and 36,864 are there",
    ),
    "no dict": (python2([1, 2]), r"expected a dict with the keys 'data' and 'labels'"),
    "another dict": (python2({b"data": 1}), r"expected a dict with the keys 'data' and 'labels'"),
    "a cut": (pickled(2)[:-9_000], r"truncated, or no pickle \(.*\)\. Fetch the archive again\."),
    "no pickle": (b"hello", r"truncated, or no pickle"),
    "nothing": (b"", r"truncated, or no pickle"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_wrong_with_a_pickled_batch_is_named(mistake: str, tmp_path: Path) -> None:
    folder = unpacked(tmp_path, PYTHON)
    content, message = MISTAKES[mistake]
    (folder / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match=f"{PYTHON}: data_batch_2: {message}"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (binary(2)[:-1], r"36,875 bytes: expected a multiple of 3,073, a label and 3,072 values a picture: truncated"),
        (b"", r"0 bytes: expected a multiple of 3,073"),
        (
            binary(2)[:3073] + b"\x0a" + bytes(3072),
            r"picture 1 \(they count from 0\) has the label 10: expected 0 to 9",
        ),
    ],
)
def test_what_is_wrong_with_a_binary_batch_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    folder = unpacked(tmp_path, BINARY)
    (folder / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(DataError, match=rf"{BINARY}: data_batch_2\.bin: {message}"):
        load(folder)


def test_a_batch_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, BINARY)
    (folder / "data_batch_4.bin").unlink()
    for place in (folder, archived(folder)):
        with pytest.raises(
            DataError, match=r"data_batch_4\.bin \(or data_batch_4\) is missing: expected cifar-10-binary"
        ):
            load(place)


def test_a_file_far_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, PYTHON)
    with (folder / "data_batch_1").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        DataError, match=r"data_batch_1 has 1,099,511,627,776 bytes: expected a batch of CIFAR-10, of 31"
    ):
        load(folder)


def test_a_path_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    unpacked(tmp_path, BINARY)
    with pytest.raises(DataError, match=r"did you mean .*/cifar-10-batches-bin\?; expected cifar-10-binary\.tar\.gz"):
        load(tmp_path / "cifar-10-batch-bin")
    with pytest.raises(DataError, match=r"dataset\.path is not set: expected cifar-10-binary"):
        build(Cifar10())
