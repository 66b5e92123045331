from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.datasets import Data, arrays, build, prepare
from shoal.errors import DataError
from shoal.recipe.parts import Arrays

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("f4"), np.arange(20) % 4


def load(path: Path, **fields: Any) -> Data:
    return build(Arrays(path=str(path), **fields))


def saved(folder: Path, **named: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in named.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=True)
    return folder


def zipped(path: Path, **named: np.ndarray) -> Path:
    np.savez_compressed(path, **named)
    return path


def test_an_npz_with_all_splits(tmp_path: Path):
    path = zipped(tmp_path / "a.npz", x_train=X, y_train=Y, x_valid=X[:5], y_valid=Y[:5], x_test=X[:7], y_test=Y[:7])
    data = load(path)
    assert data.sizes == {"train": 20, "valid": 5, "test": 7}
    assert data.notes == ()
    assert np.array_equal(data.splits["train"].inputs.numpy(), X)


def test_x_and_y_mean_train_and_no_test_split_is_fine(tmp_path: Path):
    assert load(zipped(tmp_path / "a.npz", x=X, y=Y)).sizes == {"train": 18, "valid": 2}


def test_a_folder_is_mapped_and_stays_as_it_is(tmp_path: Path):
    folder = saved(tmp_path / "data", x_train=X, y_train=Y)
    mapped = arrays._mapped(folder / "x_train.npy")
    assert isinstance(mapped.base, mmap.mmap)
    data = load(folder)
    before = (folder / "x_train.npy").read_bytes()
    data.splits["train"].inputs.zero_()
    assert (folder / "x_train.npy").read_bytes() == before


def test_a_mapped_array_is_not_copied():
    x = np.zeros((5, 2))
    data = prepare.prepare({"train": (x, np.zeros(5))}, Arrays())
    assert np.shares_memory(data.splits["train"].inputs.numpy(), x)


def test_arrays_with_other_names_are_left_out_and_said(tmp_path: Path):
    data = load(zipped(tmp_path / "a.npz", x=X, y=Y, ids=np.array(["a"], object)), valid=0)
    assert data.notes[0] == "arrays left out: ids"


def test_real_values_stay_real_even_where_they_are_whole(tmp_path: Path):
    data = load(zipped(tmp_path / "a.npz", x=X, y=Y.astype("f8")))
    assert data.classes is None
    assert data.class_counts is None


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"x_train": X}, "it has x_train but not y_train: expected x_train and y_train"),
        ({"y": Y}, "it has y but not x_train"),
        ({"x": X, "y": Y, "x_test": X}, "it has x_test but not y_test"),
        ({"x": X, "x_train": X, "y": Y}, "it has both x(_train)? and x(_train)?, which mean the same"),
        ({"x_train": X, "y_train": Y, "x_vaild": X}, "unknown array x_vaild: did you mean x_valid"),
        ({"X_train": X, "y_train": Y}, "unknown array X_train: did you mean x_train"),
        ({"images": X, "labels": Y}, "expected x_train and y_train .*; found images, labels"),
        ({"x": X, "y": np.array([None] * 20)}, "y(.npy)?: Python objects, which are never unpickled"),
        ({"x": X.astype(complex), "y": Y}, "train inputs: an array of dtype complex128 cannot be trained on"),
        ({"x": X, "y": np.array(["a"] * 20)}, "train targets: an array of dtype <U1 cannot be trained on"),
        ({"x": X, "y": Y[:-1]}, "train: 20 inputs and 19 targets"),
        ({"x": X[:0], "y": Y[:0]}, "train: there are no examples in it"),
        ({"x": np.where(X[4, 1] == X, np.nan, X), "y": Y}, "train inputs: 1 value is NaN.* in row 4"),
        ({"x": X, "y": Y - 1}, "labels out of range: train row 0 has the label -1"),
    ],
)
@pytest.mark.parametrize("as_folder", [False, True])
def test_bad_content_is_named(named: dict[str, Any], message: str, as_folder: bool, tmp_path: Path):
    path = saved(tmp_path / "data", **named) if as_folder else zipped(tmp_path / "data.npz", **named)
    with pytest.raises(DataError, match=message):
        load(path)


def test_a_path_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"dataset.path is not set: expected an NPZ file.*dataset.path=PATH"):
        build(Arrays())
    with pytest.raises(DataError, match=r"none.npz': does not exist; expected an NPZ file, or a folder of NPY files"):
        load(tmp_path / "none.npz")
    (tmp_path / "a.npy").touch()
    with pytest.raises(DataError, match=r"a.npy': is no NPZ file"):
        load(tmp_path / "a.npy")


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_truncated_npz_is_named(cut: int, tmp_path: Path):
    path = zipped(tmp_path / "a.npz", x=X, y=Y)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a.npz: not a sound NPZ file: it is truncated"):
        load(path)


def test_a_damaged_npz_is_named(tmp_path: Path):
    path = zipped(tmp_path / "a.npz", x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[120:140] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.npz: x: truncated or damaged \(.*\). Write it again"):
        load(path)


@pytest.mark.parametrize("cut", [0, 20, 150])
def test_a_truncated_npy_is_named(cut: int, tmp_path: Path):
    folder = saved(tmp_path / "data", x=X, y=Y)
    (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes()[:cut])
    with pytest.raises(DataError, match=r"x.npy: truncated or damaged \("):
        load(folder)
