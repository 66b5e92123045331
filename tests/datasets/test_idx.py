from __future__ import annotations

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shoal.datasets import build
from shoal.datasets.idx_file import read_idx
from shoal.errors import DataError
from shoal.recipe.parts import Idx

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
NAMES = {
    "train-images-idx3-ubyte": (30, 4, 5),
    "train-labels-idx1-ubyte": (30,),
    "t10k-images-idx3-ubyte": (8, 4, 5),
    "t10k-labels-idx1-ubyte": (8,),
}


def encoded(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    return (
        bytes([0, 0, code, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def contents() -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {
        name: source.integers(0, 256 if len(shape) > 1 else 3, shape, dtype=np.uint8) for name, shape in NAMES.items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, array in contents().items():
        (tmp_path / name).write_bytes(encoded(array))
    return tmp_path


def load(folder: Path):
    return build(Idx(path=str(folder)))


def rename(folder: Path, change: Callable[[str], str]) -> None:
    for path in list(folder.iterdir()):
        path.rename(folder / change(path.name))


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_type_is_read(dtype: str, zipped: bool, tmp_path: Path):
    array = np.array([[[0, 1, 2], [3, 4, 100]]], dtype)
    path = tmp_path / ("a.gz" if zipped else "a")
    path.write_bytes(gzip.compress(encoded(array)) if zipped else encoded(array))
    found = read_idx(path)
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, array)


def test_pictures_get_a_channel_axis(folder: Path):
    data = load(folder)
    assert data.sizes == {"train": 27, "valid": 3, "test": 8}
    assert data.input_shape == (1, 4, 5)
    train = data.splits["train"]
    assert np.array_equal(train.inputs[:, 0].numpy(), contents()["train-images-idx3-ubyte"])
    assert train.inputs.data_ptr() == data.splits["valid"].inputs.data_ptr()


def test_vectors_and_coloured_pictures_keep_their_shape(folder: Path):
    for shape in ((30, 7), (30, 3, 4, 5)):
        for name, n in (("train", 30), ("t10k", 8)):
            array = np.zeros((n, *shape[1:]), np.float32)
            (folder / f"{name}-images-idx3-ubyte").write_bytes(encoded(array))
        assert load(folder).input_shape == shape[1:]


def test_names_and_compression_do_not_change_what_the_data_are(folder: Path):
    expected = load(folder).digest
    rename(folder, lambda name: name.replace("-idx", ".idx"))
    assert load(folder).digest == expected
    for path in list(folder.iterdir()):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert load(folder).digest == expected  # both are there
    for path in list(folder.iterdir()):
        if path.suffix != ".gz":
            path.unlink()
    assert load(folder).digest == expected
    rename(folder, lambda name: f"emnist-letters-{name.replace('t10k', 'test')}")
    assert load(folder).digest == expected


def test_several_prefixes_are_refused(folder: Path):
    for path in list(folder.iterdir()):
        for prefix in ("emnist-letters", "emnist-digits"):
            (folder / f"{prefix}-{path.name}").write_bytes(path.read_bytes())
        path.unlink()
    message = "several files could be the images of train: emnist-digits-train-images-idx3-ubyte, emnist-letters-train"
    with pytest.raises(DataError, match=message):
        load(folder)


FOUR = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"


def test_a_path_that_is_missing_is_named_with_what_was_expected(tmp_path: Path):
    with pytest.raises(DataError, match=rf"dataset.path is not set: expected a folder with {FOUR}.*dataset.path=DIR"):
        build(Idx())
    with pytest.raises(DataError, match=rf"nowhere': does not exist; expected a folder with {FOUR}.*dataset.path=DIR"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file': is a file; expected a folder"):
        load(tmp_path / "file")


def test_a_missing_file_is_named(folder: Path):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=rf"t10k-labels-idx1-ubyte is missing: expected {FOUR}"):
        load(folder)
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte are missing"):
        load(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-7], r"its header says 30 x 4 x 5, so 600 bytes of values are expected, and 593 are there"),
        (lambda b: b + b"x", r"so 600 bytes of values are expected, and more than 600 are there"),
        (lambda b: b[:9], r"truncated in its header: expected the sizes of 3 axes"),
        (lambda b: b"", r"not an IDX file: it begins with nothing"),
        (lambda b: b"\x1f\x8b" + b[2:], r"not an IDX file: it begins with 1f 8b 08 03; expected two zero bytes"),
        (lambda b: b[:2] + b"\x0a" + b[3:], r"it begins with 00 00 0a 03"),
        (lambda b: b[:4] + b"\xff" * 12 + b[16:], r"its header says 4294967295 x 4294967295"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_file_is_named(damage: Callable[[bytes], bytes], message: str, zipped: bool, folder: Path):
    path = folder / "train-images-idx3-ubyte"
    content = damage(path.read_bytes())
    path.unlink()
    path = path.with_name(path.name + ".gz") if zipped else path
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=rf"{path.name}: .*{message}"):
        load(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:200], "the gzip file is truncated: its end is missing"),
        (lambda b: b[:-6], "the gzip file is truncated: its end is missing"),
        (lambda b: b[:-8] + b"\0\0\0\0" + b[-4:], "not a sound gzip file"),
        (lambda b: b[:60] + b"\xff" * 40 + b[100:], "not a sound gzip file|not an IDX"),
        (lambda b: b"no gzip at all, not at all", "not a sound gzip file"),
    ],
)
def test_a_damaged_gzip_file_is_named(damage: Callable[[bytes], bytes], message: str, folder: Path):
    path = folder / "train-images-idx3-ubyte"
    zipped = folder / f"{path.name}.gz"
    zipped.write_bytes(damage(gzip.compress(path.read_bytes())))
    path.unlink()
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte.gz: ({message})"):
        load(folder)


def test_files_that_do_not_belong_together_are_refused(folder: Path):
    labels = folder / "train-labels-idx1-ubyte"
    good = labels.read_bytes()
    labels.write_bytes(encoded(np.zeros(29, np.uint8)))
    with pytest.raises(DataError, match=r"has 30 pictures and .*train-labels-idx1-ubyte has 29 labels"):
        load(folder)
    labels.write_bytes((folder / "train-images-idx3-ubyte").read_bytes())
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: expected labels, with 1 axis, found 3"):
        load(folder)
    labels.write_bytes(good)
    (folder / "train-images-idx3-ubyte").write_bytes(good)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: expected pictures, with 2 axes or more, found 1"):
        load(folder)


def test_mnist_itself(shared_data: Path):
    tracemalloc.start()
    data = load(shared_data / "mnist")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.sizes == {"train": 55_000, "valid": 5_000, "test": 10_000}
    assert (data.input_shape, data.classes) == ((1, 28, 28), 10)
    assert data.notes == ("valid: 5,000 examples cut from train by a fixed permutation",)
    assert data.splits["test"].targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.normalisation.mean.item() == pytest.approx(0.1307 * 255, rel=2e-3)
    assert data.normalisation.deviation.item() == pytest.approx(0.3081 * 255, rel=2e-3)
    assert data.digest == "a166de904508f61b2a3eda256b1a01ed22cedfb310afea56836cb8bc36278909"
    assert peak < 55e6 + 30e6


def test_a_raw_picture_is_read_as_256_levels_where_pictures_are_bytes(folder: Path):
    assert load(folder).encoding == {"kind": "image", "channels": 1, "height": 4, "width": 5, "levels": 255}
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        (folder / name).write_bytes(encoded(contents()[name].astype(np.float32)))
    assert load(folder).encoding is None
