from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from shoal.datasets import Examples, from_objects
from shoal.datasets.checks import check_finite, count_classes
from shoal.datasets.chunks import ELEMENTS
from shoal.errors import DataError


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_no_finite_float32_are_counted_and_placed(bad: float):
    x = np.zeros((7, 3))
    x[2, 1] = x[5] = bad
    message = r"valid inputs: 4 values are NaN, infinite or beyond float32, the first in row 2 \(rows count from 0\)"
    with pytest.raises(DataError, match=message):
        check_finite("valid", Examples(torch.from_numpy(x), torch.zeros(7)))


def test_a_nan_in_a_later_piece_is_found():
    targets = torch.zeros(ELEMENTS + 10)
    targets[ELEMENTS + 3] = torch.nan
    with pytest.raises(DataError, match=f"train targets: 1 value is NaN.*in row {ELEMENTS + 3} "):
        check_finite("train", Examples(torch.zeros(ELEMENTS + 10, 1), targets))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_floating_type_is_checked(dtype: torch.dtype):
    x = torch.tensor([[1.0], [torch.nan]]).to(dtype)
    with pytest.raises(DataError, match="row 1"):
        check_finite("train", Examples(x, torch.zeros(2)))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1, -1], [0], "labels out of range: train row 2 has the label -1: expected labels from 0 on. Number the"),
        ([0, 1, 2], [1, 3], "labels out of range: test row 1 has the label 3: expected 0 to 2, the labels of train"),
        ([0, 1, 2], [-2], "labels out of range: test row 0 has the label -2: expected 0 to 2"),
        ([0, 10**12], [0], "train row 1 has the label 1000000000000: .*for regression, give the targets as floats"),
    ],
)
def test_labels_out_of_range(train: list[int], test: list[int], message: str, part: Callable[..., Any]):
    splits = {name: (np.zeros((len(y), 2)), np.array(y)) for name, y in (("train", train), ("test", test))}
    with pytest.raises(DataError, match=message):
        from_objects(splits, part(valid=0))


def test_labels_are_checked_against_the_number_that_was_told():
    assert count_classes(torch.tensor([0, 1]), {}, classes=5) == 5
    with pytest.raises(DataError, match="train row 1 has the label 7: expected 0 to 4"):
        count_classes(torch.tensor([0, 7]), {}, classes=5)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 4)), np.zeros(2, int), r"test inputs: an example has shape \(4,\), and in train \(3,\)"),
        (
            np.zeros((2, 3)),
            np.zeros(2),
            "test targets: torch.float64, and in train torch.int64: expected integer labels",
        ),
        (np.zeros((2, 3)), np.zeros((2, 2)), r"test targets: an example has shape \(2,\), and in train \(\)"),
    ],
)
def test_splits_have_to_agree(x: Any, y: Any, message: str, part: Callable[..., Any]):
    with pytest.raises(DataError, match=message):
        from_objects({"train": (np.zeros((4, 3)), np.zeros(4, int)), "test": (x, y)}, part())


@pytest.mark.parametrize(
    ("y", "several", "shares"),
    [
        (np.array([[0, 1], [1, 1], [0, 1], [0, 1]]), True, (0.25, 1.0)),
        (np.array([[0, 1], [1, 1], [0, 1], [0, 1]], "f8"), None, (0.25, 1.0)),
        (np.array([[0, 1], [1, 0.5], [0, 1], [0, 1]]), False, None),
        (np.array([0.0, 1, 1, 0]), False, None),
        (np.array([0, 1, 1, 0]), False, None),
    ],
)
def test_what_may_be_several_labels_is_known(y: Any, several: Any, shares: Any, part: Callable[..., Any]):
    data = from_objects((np.zeros((4, 3)), y), part(valid=0))
    assert (data.multilabel, data.label_shares) == (several, shares)


def test_splits_agree_on_several_labels(part: Callable[..., Any]):
    flags = np.array([[0, 1], [1, 0]])
    pairs = {"train": (np.zeros((2, 3)), flags), "test": (np.zeros((2, 3)), flags / 2)}
    with pytest.raises(DataError, match=r"the targets of train are integers of 0 and 1.*and those of test are not"):
        from_objects(pairs, part(valid=0))


def test_targets_far_from_what_a_network_begins_with_are_said(part: Callable[..., Any]):
    y = np.linspace(4_000, 9_000, 20)
    (note,) = [
        note for note in from_objects((np.zeros((20, 3)), y), part(valid=0)).notes if "nothing scales them" in note
    ]
    assert note.startswith("targets: mean 6500, deviation 1517 in train")
    assert not any("scales" in note for note in from_objects((np.zeros((20, 3)), y / 1_000), part(valid=0)).notes)
