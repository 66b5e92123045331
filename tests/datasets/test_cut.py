from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal.datasets import from_objects
from shoal.datasets.cut import cut, valid_size
from shoal.errors import DataError


@given(total=st.integers(1, 500), share=st.floats(0, 1))
def test_a_cut_is_a_partition(total: int, share: float):
    size = int(share * (total - 1))
    kept, left = cut(total, size)
    assert len(left) == size
    assert sorted(kept.tolist() + left.tolist()) == list(range(total))


def test_the_permutation_is_frozen():
    assert cut(20, 5)[1].tolist() == sorted(np.random.RandomState(0).permutation(20)[-5:].tolist())
    assert set(cut(1_000, 30)[1].tolist()) == set(np.random.RandomState(0).permutation(1_000)[-30:].tolist())


@pytest.mark.parametrize(("total", "size"), [(60_000, 5_000), (1_797, 179), (9, 1), (2, 1), (1, 0)])
def test_the_default_is_a_tenth_of_at_most_five_thousand(total: int, size: int):
    assert valid_size(total, None) == size


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (100, r"dataset.valid = 100: 100 of the 100 train examples would leave none.*a count of at most 99"),
        (0.999, r"dataset.valid = 0.999: 100 of the 100"),
        (2.5, r"dataset.valid = 2.5: expected a share below 1, or a whole number of examples"),
    ],
)
def test_impossible_sizes_are_refused(asked: float, message: str):
    with pytest.raises(DataError, match=message):
        valid_size(100, asked)


def test_valid_is_cut_without_a_copy_and_said(part: Callable[..., Any]):
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2
    data = from_objects((x, y), part(valid=0.2))
    assert data.sizes == {"train": 40, "valid": 10}
    assert data.notes == ("valid: 10 examples cut from train by a fixed permutation",)
    for split in data.splits.values():
        assert np.shares_memory(split.inputs.numpy(), x)
    assert sum(data.class_counts) == 40
    rows = torch.cat([split.rows for split in data.splits.values()])
    assert sorted(rows.tolist()) == list(range(50))


def test_valid_zero_means_none_and_is_said(part: Callable[..., Any]):
    data = from_objects((np.zeros((4, 1)), np.zeros(4)), part(valid=0))
    assert data.sizes == {"train": 4}
    assert data.notes == ("valid: none; nothing is evaluated as training goes",)


def test_a_size_for_data_with_a_valid_split_is_refused(part: Callable[..., Any]):
    pair = (np.zeros((4, 1)), np.zeros(4))
    with pytest.raises(DataError, match=r"dataset.valid = 0.1: this dataset has a valid split of its own"):
        from_objects({"train": pair, "valid": pair}, part(valid=0.1))
