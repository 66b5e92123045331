from __future__ import annotations

import numpy as np
import pytest
import torch

from shoal.datasets.convert import examples, to_tensor
from shoal.errors import DataError


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"])
def test_arrays_and_tensors_share_memory(dtype: str):
    array = np.ones((3, 2), dtype)
    assert np.shares_memory(array, to_tensor(array, "x").numpy())
    tensor = torch.from_numpy(array)
    assert to_tensor(tensor, "x").data_ptr() == tensor.data_ptr()


def test_a_read_only_array_is_shared_without_a_warning():
    array = np.zeros((3, 2))
    array.flags.writeable = False
    assert np.shares_memory(array, to_tensor(array, "x").numpy())


@pytest.mark.parametrize("dtype", [">f4", ">i2", ">f8", "uint16", "uint32", "uint64"])
def test_what_torch_cannot_index_is_converted_with_its_values(dtype: str):
    array = np.array([[1, 2], [3, 60_000 if "u" in dtype else 4]], dtype)
    found = to_tensor(array, "x")
    assert np.array_equal(found.numpy(), array.astype(np.float64))
    assert found.index_select(0, torch.tensor([1])).shape == (1, 2)


def test_a_uint16_tensor_is_converted_like_an_array():
    array = np.array([[1, 60_000]], "uint16")
    assert torch.equal(to_tensor(torch.from_numpy(array), "x"), to_tensor(array, "x"))


def test_reversed_and_strided_arrays_keep_their_values():
    array = np.arange(12.0).reshape(6, 2)
    assert np.array_equal(to_tensor(array[::-1], "x").numpy(), array[::-1])
    assert np.shares_memory(to_tensor(array[::2], "x").numpy(), array)


def test_a_tensor_that_requires_a_gradient_is_detached():
    assert not to_tensor(torch.ones(2, requires_grad=True), "x").requires_grad


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([["a"]], object), r"train inputs: an array of dtype object cannot be trained on: expected dense"),
        (np.array([["a"]]), r"array of dtype <U1 cannot.*Texts and objects have to be encoded"),
        (np.ones((2, 2), complex), r"array of dtype complex128 cannot"),
        (np.array([["2020-01-01"]], "datetime64[D]"), r"dtype datetime64\[D\] cannot"),
        (np.array([[2**64 - 1]], "uint64"), r"18446744073709551615 does not fit into a signed 64-bit"),
        (torch.ones(2, 2, dtype=torch.complex64), r"tensor of dtype torch.complex64 cannot"),
        (torch.ones(2, 2).to_sparse(), r"torch.sparse_coo tensor"),
        ([[1, 2], [3]], r"a list that is no regular array"),
    ],
)
def test_what_is_not_numeric_is_refused(value: object, message: str):
    with pytest.raises(DataError, match=message):
        to_tensor(value, "train inputs")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), np.zeros(4), "train: 3 inputs and 4 targets: expected one target for each input"),
        (np.zeros((0, 2)), np.zeros(0), "train: there are no examples in it"),
        (np.zeros(3), np.zeros(3), r"train inputs: shape \(3,\) has an axis.*give x\[:, None\]"),
        (np.zeros((3, 0)), np.zeros(3), "has no features in it"),
        (np.float64(3), np.zeros(3), "train: expected arrays of examples, found a single number"),
        (np.zeros((3, 2)), np.zeros((3, 1), int), r"integer labels of shape \(3, 1\): expected \[N\]; give y\[:, 0\]"),
        (np.zeros((3, 2)), np.full((3, 4), 2), r"integer labels of shape \(3, 4\).*give them as floats.*multilabel"),
        (np.zeros((3, 2)), np.array([[0, 1], [1, 0], [0, -1]]), r"integer labels of shape \(3, 2\).*task=multilabel"),
        (np.zeros((3, 2)), np.zeros((3, 4, 4), int), r"integer labels of shape \(3, 4, 4\): expected \[N\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x: object, y: object, message: str):
    with pytest.raises(DataError, match=message):
        examples("train", x, y)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_integers_of_zero_and_one_in_columns_are_several_labels_an_example(dtype: str):
    y = np.array([[0, 1], [1, 1], [0, 0]], dtype)
    found = examples("train", np.zeros((3, 2)), y)
    assert found.multilabel
    assert found.targets.dtype == torch.float32
    assert np.array_equal(found.targets.numpy(), y)


def test_real_values_of_zero_and_one_stay_what_they_are():
    y = np.array([[0, 1], [1, 1], [0, 0]], "f8")
    found = examples("train", np.zeros((3, 2)), y)
    assert not found.multilabel
    assert np.shares_memory(found.targets.numpy(), y)
