from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from shoal.datasets import Position, Stream, StreamBatches, batches, beginning, stream_batches
from shoal.errors import DataError, TrainingError


class Count(IterableDataset):
    """The numbers below `total`, shared out among workers, each with noise from the global generators."""

    def __init__(self, total: int = 10, *, noise: bool = False) -> None:
        self.total, self.noise = total, noise

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for number in range(first, self.total, step):
            yield torch.tensor([number + (random.random() + torch.rand(1).item()) * 0.1 * self.noise]), float(number)


class Varying(IterableDataset):
    """Passes of 3, 7, 4, 5 and 6 examples, as `set_epoch` says."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.begun.append(epoch)

    def __iter__(self) -> Iterator[Any]:
        for number in range([3, 7, 4, 5, 6][self.epoch % 5]):
            yield torch.tensor([100.0 * self.epoch + number]), 0.0


class Items(IterableDataset):
    def __init__(self, *items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            yield item


def made(source: Any, *, size: int = 4, classes: int | None = None, **settings: Any) -> StreamBatches:
    stream = Stream(source, "train", (1,), (), classes, settings.pop("length", None))
    usual = {"seed": 0, "drop_last": True, "device": "cpu", "workers": 0, "training": True, "steps": 100}
    found = batches(stream, batch_size=size, **{**usual, **settings})
    assert isinstance(found, StreamBatches)
    return found


def taken(found: StreamBatches, count: int, at: int = 0) -> list[list[float]]:
    stream = found.start(Position(0, at, at))
    values = [batch.inputs[:, 0].tolist() for batch in islice(stream, count)]
    stream.close()
    return values


def test_a_pass_follows_a_pass_in_the_streams_order() -> None:
    assert taken(made(Count()), 5) == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2 + [[0, 1, 2, 3]]
    assert taken(made(Count(), drop_last=False), 4)[2:] == [[8, 9], [0, 1, 2, 3]]


class Itself(IterableDataset):
    """Its own iterator, which begins anew whenever it is asked for one."""

    def __iter__(self) -> Iterator[Any]:
        self.at = 0
        return self

    def __next__(self) -> Any:
        if self.at == 10:
            raise StopIteration
        self.at += 1
        return torch.tensor([float(self.at)]), 0.0


def test_a_stream_that_is_its_own_iterator_goes_on_from_batch_to_batch() -> None:
    first, second = [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]
    assert taken(made(Itself()), 4) == [first, second, first, second]
    assert taken(made(Itself(), training=False), 3) == [first, second, [9.0, 10.0]]


def test_a_look_at_its_beginning_leaves_the_bookmark_and_is_closed() -> None:
    source = Count()
    found, closed = made(source), list[bool]()
    found.bookmark.number, found.bookmark.began = 4, 8
    start = found.start

    def watched(*arguments: Any) -> Iterator[Any]:
        try:
            yield from start(*arguments)
        finally:
            closed.append(True)

    found.start = watched  # type: ignore[method-assign]
    with beginning(found) as stream:
        assert [next(stream).position.step for _ in range(5)] == list(range(5))
    assert closed == [True]
    assert (found.bookmark.number, found.bookmark.began) == (4, 8)


def test_evaluation_is_one_pass_with_its_rest() -> None:
    found = list(made(Count(), training=False).start())
    assert [batch.size for batch in found] == [4, 4, 2]
    assert [batch.index.tolist() for batch in found][2] == [8, 9]
    assert [batch.weight for batch in found] == [None] * 3
    again = list(made(Count(), training=False).start())
    assert torch.equal(found[0].inputs, again[0].inputs)


def test_batches_say_where_they_stand() -> None:
    positions = [batch.position for batch in islice(made(Count(), length=10).start(), 3)]
    assert positions == [(0, 0, 0), (0, 1, 1), (1, 0, 2)]
    assert made(Count(), length=10).per_epoch == 2
    assert made(Count(), length=10, drop_last=False).per_epoch == 3
    assert made(Count()).per_epoch == 100


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [1, 2, 3, 7])
def test_any_step_can_be_begun_at_with_the_same_batches(workers: int, at: int) -> None:
    whole = taken(made(Count(12, noise=True), workers=workers), 9)
    assert len({tuple(batch) for batch in whole}) == 9, "noise differs in each pass"
    assert taken(made(Count(12, noise=True), workers=workers), 9 - at, at) == whole[at:]


def test_a_bookmark_spares_the_passes_before() -> None:
    whole = taken(made(Varying(), size=2), 20)
    assert whole[:6] == [[0, 1], [100, 101], [102, 103], [104, 105], [200, 201], [202, 203]]
    for at in range(20):
        first, second = made(Varying(), size=2), made(Varying(), size=2)
        taken(first, at + 1)
        second.bookmark.load_state_dict(first.bookmark.state_dict())
        number = second.bookmark.number
        second.stream.source.begun.clear()
        assert taken(second, 20 - at, at) == whole[at:]
        assert second.stream.source.begun[0] == number
    assert made(Varying()).skipping(Position(0, 3, 3)) == (
        "the train stream (Varying) is read again from its start: 3 batches of pass 1 are skipped"
    )


def test_the_origin_of_a_batch_is_a_pass_and_places_in_it() -> None:
    found = made(Varying(), size=2)
    for batch in islice(found.start(), 8):
        origin = found.origin(batch.position)
        assert origin is not None
        number = int(batch.inputs[0, 0]) // 100 + 1
        assert origin.of == f"pass {number} of the train stream (Varying)"
        assert list(origin.examples) == batch.index.tolist()
    assert origin.said == "batch 8 of epoch 1: examples 2, 3 of pass 4 of the train stream (Varying)"
    resumed = made(Varying(), size=2)
    resumed.bookmark.load_state_dict(found.bookmark.state_dict())
    assert resumed.origin(Position(0, 7, 7)) == origin
    assert resumed.origin(Position(0, 1, 1)) is None, "of a pass that this process has not read"


def test_a_bookmark_of_a_later_step_is_not_used() -> None:
    found = made(Varying(), size=2)
    whole = taken(found, 12)
    assert found.bookmark.number > 1
    assert taken(found, 11, 1) == whole[1:]


def test_the_callers_generators_are_left_alone() -> None:
    random.seed(3)
    torch.manual_seed(3)
    expected = random.random(), torch.rand(1).item()
    random.seed(3)
    torch.manual_seed(3)
    noisy = made(Count(noise=True))
    first = taken(noisy, 2)
    assert (random.random(), torch.rand(1).item()) == expected
    assert taken(noisy, 2) == first, "not on where the generators stood"
    assert taken(made(Count(noise=True), seed=1), 2) != first


def test_workers_take_turns_with_their_shares() -> None:
    assert taken(made(Count(16), workers=2), 4) == [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10, 12, 14], [9, 11, 13, 15]]


GOOD = (torch.zeros(1), 1)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("items", "kind", "message"),
    [
        ([], DataError, r"the train stream \(Items\) ended in its pass 1 without a batch of 2 examples"),
        ([GOOD], DataError, "without a batch of 2 examples. Give it more, choose a smaller batch_size"),
        (
            [GOOD, GOOD, GOOD, (torch.zeros(3), 1)],
            DataError,
            r"example 3 of the train stream \(Items\), pass 1, has an input of shape \(3,\).*: expected \(1,\)",
        ),
        ([GOOD, "x"], DataError, r"example 1 of the train stream \(Items\), pass 1, is a str: expected a pair"),
        ([GOOD, (torch.zeros(1), 7)], DataError, "labels out of range: example 1 .* has the label 7: expected 0 to 2"),
        ([GOOD, (torch.zeros(1), 0.5)], DataError, "labels out of range: example 1 .* has the label 0.5: expected"),
        ([GOOD, ValueError("no disk")], TrainingError, r"after 0 or more examples of pass 1.*: ValueError: no disk \("),
    ],
)
def test_what_a_stream_should_not_give_is_named(items: Any, kind: Any, message: str, workers: int) -> None:
    with pytest.raises(kind, match=message):
        taken(made(Items(*items), size=2, classes=3, workers=workers), 2)


def test_what_would_end_a_worker_is_named_with_its_stream() -> None:
    with pytest.raises(TrainingError, match=r"\(Items\) raised after 2 or more .* \(worker 1 of 1\): SystemExit: 3 \("):
        taken(made(Items(GOOD, GOOD, SystemExit(3)), size=2, classes=3, workers=1), 2)
    with pytest.raises(SystemExit):
        taken(made(Items(SystemExit(3)), size=2, classes=3), 2)


def test_a_stream_that_gives_nothing_a_second_time_is_refused() -> None:
    class Once(IterableDataset):
        left = iter([GOOD] * 4)

        def __iter__(self) -> Iterator[Any]:
            return self.left

    with pytest.raises(TrainingError, match=r"pass 2 without a batch .* let its __iter__ begin anew"):
        taken(made(Once(), size=2, classes=2), 3)


def test_an_evaluation_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_batches, "MOST_EVALUATED", 50)
    assert len(list(made(Count(48), training=False).start())) == 12
    with pytest.raises(DataError, match=r"has given 50 examples and not ended.*itertools.islice"):
        list(made(Count(10**9), training=False).start())
