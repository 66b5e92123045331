from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from shoal.datasets.items import as_pair, collate, place
from shoal.errors import DataError


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (torch.zeros(3), r"D\[4\] is a Tensor: expected a pair \(input, target\)"),
        ((1, 2, 3), r"D\[4\] is a tuple of 3: expected a pair"),
        ({"x": 1, "y": 2}, r"D\[4\] is a dict of 2: expected a pair"),
        (None, r"D\[4\] is a NoneType: expected a pair"),
        (("text", 1), r"the input of D\[4\] is a str: expected a tensor, a NumPy array or a number"),
        ((torch.zeros(2), "cat"), r"the target of D\[4\] is a str"),
        ((torch.zeros(2), [1, 2]), r"the target of D\[4\] is a list of 2"),
        (
            (torch.zeros(2), np.array([1, 2])),
            r"the target of D\[4\] is an integer array of shape \(2,\): expected one label",
        ),
        ((np.array(["a"]), 1), r"the input of D\[4\]: an array of dtype <U1 cannot be trained on"),
    ],
)
def test_what_is_no_pair_of_numbers_is_described(found: Any, message: str):
    with pytest.raises(DataError, match=message):
        as_pair(found, "D[4]")


@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        (3, torch.int64),
        (np.uint8(3), torch.int64),
        (torch.tensor(3), torch.int64),
        (True, torch.int64),
        (3.0, torch.float32),
        (np.float64(3), torch.float32),
        (np.zeros(2), torch.float32),
    ],
)
def test_labels_and_real_values_are_told_apart(target: Any, dtype: torch.dtype):
    inputs, targets = collate([as_pair((np.zeros((2, 2), "u1"), target), "D[0]")] * 2, [0, 1])
    assert (inputs.dtype, targets.dtype, targets.shape[0]) == (torch.float32, dtype, 2)


def test_examples_of_several_shapes_are_refused():
    items = [(torch.zeros(2), torch.tensor(1)), (torch.zeros(3), torch.tensor(1))]
    message = r"example 9 has an input of shape \(3,\).*and example 5 of \(2,\) and \(\): the examples of a batch need"
    with pytest.raises(DataError, match=message):
        collate(items, [5, 9])


def test_a_place_is_that_in_the_users_dataset():
    numbers = TensorDataset(torch.arange(10))
    assert place(numbers, 3) == "TensorDataset[3]"
    assert place(Subset(Subset(numbers, [4, 6, 8]), [2, 1]), 0) == "TensorDataset[8]"
