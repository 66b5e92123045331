"""Batches read by address: what stands in them where examples are broken, and what is said of those."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal.datasets.reading import Address, Reader, substituted
from shoal.errors import DataError, TrainingError


class Counted:
    """Example i is the number i; some cannot be read, or have another label."""

    def __init__(self, *broken: int, error: Exception | None = None, label: Any = None) -> None:
        self.broken, self.error, self.label = broken, error or ValueError("bad picture"), label

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        if index in self.broken and self.label is not None:
            return torch.tensor([float(index)]), self.label
        if index in self.broken:
            raise self.error
        return torch.tensor([float(index)]), index


def reader(*broken: int, training: bool = True, error: Exception | None = None) -> Reader:
    return Reader(Counted(*broken, error=error), seed=0, training=training, skips=True)


@pytest.mark.parametrize(
    ("broken", "training", "places", "indices", "size"),
    [
        ([], True, 0, [7, 3, 9, 4], 4),
        ([3], True, 0, [7, 9, 9, 4], 4),
        ([9, 4], True, 0, [7, 3, 7, 7], 4),
        ([3], False, 0, [7, 9, 4], 3),
        ([], False, 6, [7, 3, 9, 4, 7, 7], 4),
        ([7, 3], False, 4, [9, 4, 9, 9], 2),
    ],
)
def test_another_example_stands_for_a_broken_one_in_training_and_none_in_an_evaluation(
    broken: list[int], training: bool, places: int, indices: list[int], size: int
) -> None:
    found = reader(*broken, training=training).read(Address(0, 0, [7, 3, 9, 4], places))
    assert found.inputs is not None
    assert found.targets is not None
    assert (list(found.indices), found.size) == (indices, size)
    assert found.targets.tolist() == found.inputs[:, 0].tolist() == indices
    assert sorted(index for index, _ in found.broken) == sorted(broken)
    assert all(why.startswith(f"Counted[{index}] raised ValueError: bad picture (") for index, why in found.broken)


@given(st.lists(st.integers(0, 99), min_size=1, unique=True), st.sets(st.integers(0, 99)))
def test_a_place_is_taken_by_the_next_that_can_be_read(indices: list[int], broken: set[int]) -> None:
    readable = {index: ... for index in indices if index not in broken}
    if not readable:
        return
    for place, (index, chosen) in enumerate(zip(indices, substituted(indices, readable), strict=True)):
        turn = indices[place:] + indices[:place]
        assert chosen == next(each for each in turn if each in readable)
        assert (chosen == index) == (index in readable)


def test_a_batch_of_which_nothing_can_be_read_is_an_error_in_training_and_no_batch_in_an_evaluation() -> None:
    with pytest.raises(TrainingError, match=r"none of the 2 examples of batch 3 could be read, in epoch 2, and "
                       r"dataset\.broken=skip needs one at least: Counted\[1\] raised ValueError"):  # fmt: skip
        reader(1, 2).read(Address(1, 2, [1, 2]))
    found = reader(1, 2, training=False).read(Address(0, 0, [1, 2], 4))
    assert (found.inputs, found.size, len(found.broken)) == (None, 0, 2)


@pytest.mark.parametrize("skips", [False, True])
def test_memory_that_runs_out_is_no_fault_of_the_example(skips: bool) -> None:
    made = Reader(Counted(3, error=MemoryError("no more")), seed=0, training=True, skips=skips)
    with pytest.raises(TrainingError, match=r"Counted\[3\] raised MemoryError: no more .* Memory ran out there: take"):
        made.read(Address(0, 0, [1, 3]))


def test_an_error_says_where_when_and_what_to_do() -> None:
    made = Reader(Counted(3), seed=0, training=False)
    with pytest.raises(TrainingError, match=r"^Counted\[3\] raised ValueError: bad picture \(.*test_reading\.py, line "
                       r"\d+, in __getitem__\), in an evaluation\. Mend that example, or leave it out: dataset\.broken="
                       ) as caught:  # fmt: skip
        made.read(Address(0, 0, [1, 3]))
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("label", [-1, 20, np.int64(255), torch.tensor(20), 0.5])
def test_a_label_out_of_range_is_named_with_its_example_or_is_that_of_a_broken_one(label: Any) -> None:
    made = Reader(Counted(3, label=label), seed=0, training=True, classes=20)
    said = f"labels out of range: Counted[3] has the label {label}: expected 0 to 19. Number the classes from 0; "
    with pytest.raises(DataError, match=rf"^{re.escape(said)}.* Or leave such examples out: dataset\.broken=skip"):
        made.read(Address(0, 0, [7, 3, 9, 4]))
    found = replace(made, skips=True).read(Address(0, 0, [7, 3, 9, 4]))
    assert list(found.indices) == [7, 9, 9, 4]
    assert found.broken[0][1].startswith(said)


def test_where_targets_are_no_labels_none_is_out_of_range() -> None:
    made = Reader(Counted(3, label=-1.5), seed=0, training=True)
    assert made.read(Address(0, 0, [3])).targets.tolist() == [-1.5]
