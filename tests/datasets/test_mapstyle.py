from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from shoal.datasets import from_objects
from shoal.errors import DataError
from shoal.recipe.parts import MapStyle


class Pictures(Dataset):
    """Twenty pictures, optionally telling about themselves."""

    def __init__(self, total: int = 20, **told: Any) -> None:
        self.total = total
        self.__dict__.update(told)

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> Any:
        if "digest" in self.__dict__:
            assert index == 0, "it was to be believed, not read"
        return np.full((1, 2, 2), index, "u1") + random.random(), index % 4


class Duck:
    """Map-style without being a torch Dataset."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return [float(index)], float(index)


READ = "train: read through once to identify it; give it a `digest` to skip this"


def test_what_a_dataset_does_not_tell_is_read_once(part: Callable[..., Any]):
    data = from_objects(Pictures(), part(valid=5))
    assert (data.input_shape, data.target_shape, data.classes) == ((1, 2, 2), (), 4)
    assert data.notes == (READ, "valid: 5 examples cut from train by a fixed permutation")
    assert data.sizes == {"train": 15, "valid": 5}
    assert sum(data.class_counts) == 15
    assert data.normalisation is None
    assert isinstance(data.splits["train"], Subset)
    rows = [index for split in data.splits.values() for index in split.indices]
    assert sorted(rows) == list(range(20))


def test_the_digest_of_what_was_read_is_its_content(part: Callable[..., Any]):
    random.seed(1)
    first = from_objects(Pictures(), part()).digest
    state = random.getstate()
    assert from_objects(Pictures(), part(valid=0)).digest == first
    assert random.getstate() == state
    assert from_objects(Pictures(19), part()).digest != first
    assert from_objects({"train": Pictures(), "test": Pictures()}, part()).digest != first


def test_a_digest_that_is_given_is_believed(part: Callable[..., Any]):
    data = from_objects(Pictures(digest="v1", classes=["a", "b", "c", "d"]), part(valid=0))
    assert (data.classes, data.class_counts) == (4, None)
    assert READ not in data.notes
    assert len(data.digest) == 64
    assert from_objects(Pictures(digest="v2", classes=4), part()).digest != data.digest


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_targets_that_are_told_are_counted(kind: Any, part: Callable[..., Any]):
    told = Pictures(digest="v1", targets=kind([i % 4 for i in range(20)]))
    data = from_objects(told, part(valid=0))
    assert (data.classes, data.class_counts) == (4, (5, 5, 5, 5))


def test_real_valued_targets(part: Callable[..., Any]):
    data = from_objects(TensorDataset(torch.zeros(10, 3), torch.rand(10, 2)), part())
    assert (data.input_shape, data.target_shape, data.classes, data.class_counts) == ((3,), (2,), None, None)


def test_a_mapping_of_datasets(part: Callable[..., Any]):
    data = from_objects({"train": Pictures(), "valid": Pictures(8), "test": Pictures(6)}, part())
    assert data.sizes == {"train": 20, "valid": 8, "test": 6}
    assert len(data.notes) == 3


class Odd(Dataset):
    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index] if not isinstance(self.items[index], Exception) else self._raise(self.items[index])

    def _raise(self, error: Exception) -> None:
        raise error


class Endless(Dataset):
    def __getitem__(self, index: int) -> Any:
        return torch.zeros(1), 0


GOOD = (torch.zeros(2), 0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Endless(), "train: Endless has no length: expected a map-style Dataset with __len__"),
        (Odd(), "train: Odd has no examples in it"),
        (Odd(GOOD, "x"), r"Odd\[1\] is a str: expected a pair"),
        (Odd(GOOD, ValueError("no such file")), r"train: Odd\[1\] raised ValueError: no such file"),
        (Odd(GOOD, (torch.tensor([0, torch.nan]), 1)), r"the input of Odd\[1\] has values that are NaN or infinite"),
        (Odd((torch.zeros(2), 0.0), (torch.zeros(2), float("inf"))), r"the target of Odd\[1\] has values that are NaN"),
        (Odd(GOOD, (torch.zeros(2), -1)), "labels out of range: train row 1 has the label -1"),
        (Odd(GOOD, (torch.zeros(2), 0.5)), "some targets of Odd are integers and some are not"),
        ({"train": Odd(GOOD), "test": Odd((torch.zeros(2), 3))}, "labels out of range: test row 0 has the label 3"),
        (
            {"train": Odd(GOOD), "test": Odd((torch.zeros(3), 0))},
            r"test: the first input is torch.float32 of shape \(3,\)",
        ),
        (Pictures(digest="v1"), "has a `digest`, but neither `classes`.*dataset.classes = 10"),
        (Pictures(digest=7, classes=4), "the `digest` of Pictures is 7: expected a text"),
        (Pictures(digest="v1", targets=[1, 2]), r"the `targets` of Pictures have shape \(2,\): expected \(20,\)"),
        (Pictures(classes=2), "train row 2 has the label 2: expected 0 to 1"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(source: Any, message: str, part: Callable[..., Any]):
    with pytest.raises(DataError, match=message):
        from_objects(source, part(valid=0))


def test_a_duck_that_is_no_pair_of_arrays_is_described(part: Callable[..., Any]):
    with pytest.raises(DataError, match=r"the input of Duck\[0\] is a list of 1: expected a tensor"):
        from_objects(Duck(), part())


@pytest.mark.parametrize(
    "source",
    [
        Pictures(classes=3),  # 3, 7, 11, ... have the label 3
        Pictures(classes=3, digest="v1", targets=[index % 4 for index in range(20)]),
    ],
)
def test_labels_out_of_range_are_those_of_broken_examples_where_broken_ones_may_be(
    source: Any, part: Callable[..., Any]
) -> None:
    assert from_objects(source, MapStyle(valid=0, broken="skip")).class_counts == (5, 5, 5)
    with pytest.raises(DataError, match="labels out of range: train row 3 has the label 3: expected 0 to 2"):
        from_objects(source, part(valid=0))
