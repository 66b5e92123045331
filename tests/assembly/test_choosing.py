from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shoal.assembly.choosing import Highest, Spread

CPU = torch.device("cpu")


def batches(values: Tensor, size: int) -> list[Tensor]:
    return list(values.split(size))


@given(total=st.integers(1, 60), count=st.integers(1, 30), size=st.integers(1, 17))
def test_spread_rows_are_the_same_whatever_the_batch_size(total: int, count: int, size: int) -> None:
    values, spread = torch.arange(total), Spread(count, total, CPU)
    for batch in batches(values, size):
        spread.add(len(batch), lambda rows, batch=batch: {"value": batch[rows]})
    kept = spread.rows()["value"].tolist()
    assert kept[0] == 0
    assert len(kept) == min(count, total)
    assert kept == sorted(set(kept))
    gaps = {after - before for before, after in pairwise(kept)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(scores=st.lists(st.integers(-50, 50), min_size=1, max_size=60, unique=True), size=st.integers(1, 17))
def test_the_highest_are_those_of_a_sort(scores: list[int], size: int) -> None:
    values, highest = torch.tensor(scores, dtype=torch.float32), Highest(5)
    for batch in batches(values, size):
        highest.add(batch, lambda rows, batch=batch: {"score": batch[rows]})
    assert highest.rows()["score"].tolist() == sorted(scores, reverse=True)[:5]


def test_minus_infinity_is_never_kept() -> None:
    highest = Highest(3)
    scores = torch.tensor([-torch.inf, 1.0, -torch.inf])
    highest.add(scores, lambda rows: {"row": rows})
    assert highest.rows()["row"].tolist() == [1]


@pytest.mark.parametrize("kept", [Spread(3, 5, CPU), Highest(3)])
def test_nothing_seen_is_nothing_kept(kept: Spread | Highest) -> None:
    assert kept.rows() == {}
