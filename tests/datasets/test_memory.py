from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal.datasets import START, Batch, Examples, MemoryBatches, Normalisation, Position, batches, build, memory
from shoal.recipe.parts import Idx


def examples(total: int, *, dtype: str = "uint8", shape: tuple[int, ...] = (1, 3, 3), rows: Any = None) -> Examples:
    source = np.random.default_rng(0)
    inputs = (source.random((total, *shape)) * 200).astype(dtype)
    return Examples(torch.from_numpy(inputs), torch.arange(total) % 7, None if rows is None else torch.as_tensor(rows))


def constants(shape: tuple[int, ...] = (1, 1, 1)) -> Normalisation:
    source = np.random.default_rng(1)
    return Normalisation(*(torch.from_numpy(source.random(shape).astype("f4") * 50 + 1) for _ in range(2)))


def of(split: Examples, **fields: Any) -> MemoryBatches:
    defaults = {"batch_size": 4, "seed": 0, "drop_last": True, "device": "cpu", "normalisation": None, "training": True}
    return MemoryBatches(split, **{**defaults, **fields})


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.size, one.position) == (other.size, other.position)
        for name in ("inputs", "targets", "index"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert (one.weight is None) == (other.weight is None)
        assert one.weight is None or torch.equal(one.weight, other.weight)


@given(
    total=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    drop_last=st.booleans(),
    with_rows=st.booleans(),
    seed=st.integers(0, 5),
)
def test_batches_are_the_examples_of_the_order(
    total: int, batch_size: int, drop_last: bool, with_rows: bool, seed: int
):
    drop_last = drop_last and batch_size <= total
    rows = torch.arange(total) * 2 if with_rows else None
    split, how = examples(total * 2 if with_rows else total, rows=rows), constants()
    found = of(split, batch_size=batch_size, drop_last=drop_last, seed=seed, normalisation=how)
    for epoch in range(2):
        passed = list(islice(found.start(Position(epoch, 0, 5)), found.per_epoch))
        order = found.layout.order(epoch)
        expected = order if rows is None else rows[order]
        assert torch.equal(torch.cat([batch.index for batch in passed]), expected)
        for number, batch in enumerate(passed):
            assert torch.equal(batch.inputs, how.apply(split.inputs[batch.index]))
            assert torch.equal(batch.targets, split.targets[batch.index])
            assert batch.position == Position(epoch, number, 5 + number)
            assert batch.weight is None
            assert batch.size == len(batch.inputs) == len(batch.index)
            origin = found.origin(batch.position)
            assert (origin.epoch, origin.batch, origin.examples) == (epoch + 1, number + 1, batch.index.tolist())


@given(
    total=st.integers(4, 60),
    batch_size=st.integers(1, 9),
    drop_last=st.booleans(),
    block=st.sampled_from([1, 200, 700, memory.BLOCK_BYTES]),
    steps=st.integers(0, 40),
)
def test_a_start_anywhere_gives_the_tail(total: int, batch_size: int, drop_last: bool, block: int, steps: int):
    drop_last = drop_last and batch_size <= total
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "BLOCK_BYTES", block)
        found = of(examples(total), batch_size=batch_size, drop_last=drop_last, normalisation=constants())
        whole = list(islice(found.start(), steps + 5))
        epoch, batch = divmod(steps, found.per_epoch)
        assert_same(list(islice(found.start(Position(epoch, batch, steps)), 5)), whole[steps:])
        if batch == 0 and epoch:
            end = Position(epoch - 1, found.per_epoch, steps)
            assert_same(list(islice(found.start(end), 5)), whole[steps:])


def test_a_batch_lies_at_one_alignment_wherever_the_training_started():
    found = of(examples(64, shape=(5,)), batch_size=3)
    at = [batch.inputs.data_ptr() % 64 for batch in islice(found.start(), 20)]
    for begin in range(20):
        assert next(found.start(Position(0, begin, begin))).inputs.data_ptr() % 64 == at[begin]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("rows", [None, [5, 1, 8, 9, 10, 11, 2, 30, 31]])
def test_normalising_in_advance_or_late_gives_the_same_bits(dtype: str, normalised: bool, rows: Any, monkeypatch: Any):
    how, passes = constants((3,)) if normalised else None, []
    for ahead in (1 << 30, 0):
        monkeypatch.setattr(memory, "AHEAD_BYTES", ahead)
        split = examples(41, dtype=dtype, shape=(3,), rows=rows)
        before = split.inputs.clone()
        passes.append(list(islice(of(split, normalisation=how).start(), 25)))
        assert torch.equal(split.inputs, before)
    assert_same(*passes)
    batch = passes[0][3]
    expected = split.inputs[batch.index].to(torch.float32)
    assert torch.equal(batch.inputs, how.apply(expected) if how else expected)


def test_what_needs_no_change_is_shared():
    split = examples(20, dtype="float32", rows=[1, 2, 3, 4, 5])
    found = of(split)
    assert found._inputs.data_ptr() == split.inputs.data_ptr()
    assert found._targets.data_ptr() == split.targets.data_ptr()


def test_large_inputs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "AHEAD_BYTES", 0)
    split = examples(20, rows=[1, 2, 3, 4, 5])
    for training in (True, False):
        assert of(split, normalisation=constants(), training=training)._inputs.data_ptr() == split.inputs.data_ptr()


def test_changing_a_batch_in_place_changes_nothing_else():
    split = examples(20, dtype="float32")
    before = split.inputs.clone()
    for training in (True, False):
        stream = of(split, training=training).start()
        one, other = next(stream), next(stream)
        kept = other.inputs.clone()
        scale = torch.tensor(2.0, requires_grad=True)
        one.inputs.mul_(scale)
        assert torch.equal(other.inputs, kept)
    assert torch.equal(split.inputs, before)


def test_labels_are_int64_and_real_values_float32():
    for dtype in (torch.uint8, torch.int32, torch.bool):
        split = Examples(torch.zeros(8, 2), torch.ones(8).to(dtype))
        assert next(of(split).start()).targets.dtype == torch.int64
    for dtype in (torch.float16, torch.float64):
        split = Examples(torch.zeros(8, 2), torch.ones(8, 3).to(dtype))
        assert next(of(split).start()).targets.dtype == torch.float32


def test_evaluation_is_one_pass_in_order_of_rows():
    split = examples(20, rows=[3, 4, 9, 11, 12, 17])
    passed = list(of(split, training=False).start())
    assert [batch.index.tolist() for batch in passed] == [[3, 4, 9, 11], [12, 17, 3, 3]]
    assert passed[0].weight is None
    assert passed[1].weight.tolist() == [1, 1, 0, 0]
    assert [batch.size for batch in passed] == [4, 2]
    assert torch.equal(passed[1].inputs[2].to(torch.uint8), split.inputs[3])
    assert_same(list(of(split, training=False).start(Position(0, 1, 1))), passed[1:])
    assert list(of(split, training=False).start(Position(0, 2, 2))) == []


def test_evaluation_without_padding_has_a_smaller_last_batch():
    passed = list(of(examples(10), training=False, pad=False).start())
    assert [(len(batch.inputs), batch.size, batch.weight) for batch in passed] == [
        (4, 4, None),
        (4, 4, None),
        (2, 2, None),
    ]


def test_a_split_smaller_than_a_batch_is_evaluated():
    (only,) = of(examples(3), batch_size=8, training=False).start()
    assert (len(only.inputs), only.size) == (8, 3)
    (only,) = of(examples(3), batch_size=8, training=False, pad=False).start()
    assert (len(only.inputs), only.size) == (3, 3)


def test_the_callers_generators_are_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(islice(of(examples(20)).start(), 12))
    assert torch.equal(torch.get_rng_state(), before)


def test_mnist_late_equals_mnist_in_advance(shared_data: Path, monkeypatch: pytest.MonkeyPatch):
    data = build(Idx(path=str(shared_data / "mnist")))
    split = data.splits["train"]
    fields: dict[str, Any] = {"batch_size": 128, "seed": 3, "drop_last": True, "device": "cpu", "training": True}
    late = batches(split, normalisation=data.normalisation, **fields)
    assert late.per_epoch == 429
    assert late._inputs.data_ptr() == split.inputs.data_ptr()
    few = Examples(split.inputs, split.targets, split.rows[:5_000])
    ahead = batches(few, normalisation=data.normalisation, **fields)
    monkeypatch.setattr(memory, "AHEAD_BYTES", 0)
    again = batches(few, normalisation=data.normalisation, **fields)
    assert ahead._inputs.dtype == torch.float32
    assert again._inputs.dtype == torch.uint8
    assert_same(list(islice(again.start(START), 50)), list(islice(ahead.start(START), 50)))
    batch = next(iter(late.start(Position(2, 100, 958))))
    assert torch.equal(batch.inputs, data.normalisation.apply(split.inputs[batch.index]))
    assert torch.equal(batch.targets, split.targets[batch.index].long())
