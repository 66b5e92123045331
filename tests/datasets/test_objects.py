from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset

from shoal.datasets import from_objects
from shoal.errors import DataError

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("f4"), np.arange(20) % 4


def test_arrays_and_tensors_are_not_copied(part: Callable[..., Any]):
    assert np.shares_memory(from_objects((X, Y), part()).splits["train"].inputs.numpy(), X)
    tensor = torch.from_numpy(X.copy())
    data = from_objects({"train": (tensor, Y), "test": (tensor, Y)}, part())
    assert {split.inputs.data_ptr() for split in data.splits.values()} == {tensor.data_ptr()}


def test_lists_are_taken(part: Callable[..., Any]):
    data = from_objects([[[0.0, 1], [2, 3], [4, 5]], [0, 1, 1]], part(valid=0))
    assert (data.input_shape, data.classes, data.class_counts) == ((2,), 2, (1, 2))


def test_data_pass_through(part: Callable[..., Any]):
    data = from_objects((X, Y), part())
    assert from_objects(data, part()) is data


def test_targets_with_several_values(part: Callable[..., Any]):
    data = from_objects((X, X[:, :2]), part())
    assert (data.target_shape, data.classes) == ((2,), None)


class Endless(IterableDataset):
    digest = "nothing"

    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (X, r"train: found a ndarray: expected \(x, y\), or"),
        ((X, Y, X, Y), r"train: found a tuple of 4: expected \(x, y\), or"),
        (None, "train: found a NoneType: expected"),
        ("digits", "train: found a str: expected"),
        (Endless(), "train: the stream Endless ended before its first example"),
        ({"train": (X, Y), "vaild": (X, Y)}, "unknown split 'vaild': did you mean 'valid'"),
        ({"test": (X, Y)}, "there is no train split. Splits given: test"),
        ({}, "there is no train split. Splits given: none"),
        (
            {"train": TensorDataset(torch.zeros(2, 2), torch.zeros(2)), "test": (X, Y)},
            "test: found a tuple of 2 for every split, as others are Datasets|test: found a tuple",
        ),
    ],
)
def test_what_cannot_be_data_is_refused(source: Any, message: str, part: Callable[..., Any]):
    with pytest.raises(DataError, match=message):
        from_objects(source, part())
