from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from shoal.datasets import START, Batch, DatasetBatches, Position
from shoal.errors import DataError, TrainingError


class Augmented(Dataset):
    """Draws from all three generators."""

    def __init__(self, total: int = 23) -> None:
        self.total = total

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> Any:
        noise = torch.rand(2) + torch.from_numpy(np.random.random(2)).float() + random.random()
        return noise, index % 3


ENDING = {"KeyboardInterrupt": KeyboardInterrupt(), "SystemExit: 3": SystemExit(3)}


class Failing(Augmented):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def __getitem__(self, index: int) -> Any:
        if index == 11:
            if self.kind == "raises":
                raise ValueError("bad picture")
            if self.kind in ENDING and multiprocessing.parent_process() is not None:
                raise ENDING[self.kind]
            if self.kind == "unpicklable":
                raise Unpicklable(lambda: None)
            if self.kind == "killed" and multiprocessing.parent_process() is not None:
                os.kill(os.getpid(), signal.SIGKILL)
            return "no pair"
        return super().__getitem__(index)


class Unpicklable(Exception):  # noqa: N818
    pass


def of(dataset: Any = None, **fields: Any) -> DatasetBatches:
    defaults = {"batch_size": 4, "seed": 0, "drop_last": True, "device": "cpu", "workers": 0, "training": True}
    return DatasetBatches(Augmented() if dataset is None else dataset, **{**defaults, **fields})


def take(found: DatasetBatches, count: int, at: Position = START) -> list[Batch]:
    stream = found.start(at)
    try:
        return list(islice(stream, count))
    finally:
        stream.close()


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.size, one.position) == (other.size, other.position)
        for name in ("inputs", "targets", "index"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert (one.weight is None) == (other.weight is None)


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    before = set(multiprocessing.active_children())
    yield
    left = set(multiprocessing.active_children()) - before
    for child in left:
        child.kill()  # the tests would wait for it at their end
    assert not left


def test_batches_do_not_depend_on_workers_nor_on_the_start():
    whole = take(of(), 14)
    assert [batch.position for batch in whole[4:6]] == [Position(0, 4, 4), Position(1, 0, 5)]
    for workers in (0, 2):
        found = of(workers=workers)
        assert_same(take(found, 14), whole)
        for step in (3, 5, 7):
            at = Position(step // 5, step % 5, step)
            assert_same(take(found, 14 - step, at), whole[step:])
        assert_same(take(found, 2, Position(0, 5, 5)), whole[5:7])


def test_augmentation_is_a_function_of_seed_epoch_and_index():
    def noise(seed: int, epoch: int) -> torch.Tensor:
        passed = take(of(seed=seed, drop_last=False), 6, Position(epoch, 0, 0))
        index = torch.cat([batch.index for batch in passed])
        return torch.cat([batch.inputs for batch in passed])[index.argsort()]

    assert torch.equal(noise(0, 0), noise(0, 0))
    assert not torch.equal(noise(0, 0), noise(0, 1))
    assert not torch.equal(noise(0, 0), noise(1, 0))
    assert len(set(noise(0, 0)[:, 0].tolist())) == 23


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_generators_are_left_alone(workers: int):
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    take(of(workers=workers), 7)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_is_one_pass_in_order_and_padded(workers: int):
    passed = list(of(training=False, workers=workers).start())
    assert torch.cat([batch.index for batch in passed]).tolist() == [*range(23), 20]
    assert passed[-1].weight.tolist() == [1, 1, 1, 0]
    assert [batch.size for batch in passed] == [4, 4, 4, 4, 4, 3]
    assert torch.equal(passed[-1].inputs[3], passed[-1].inputs[0])
    smaller = list(of(training=False, workers=workers, pad=False).start())
    assert (len(smaller[-1].inputs), smaller[-1].weight) == (3, None)


def test_a_smaller_last_training_batch_is_kept_where_asked():
    passed = take(of(drop_last=False), 6)
    assert (len(passed[-1].inputs), passed[-1].weight) == (3, None)
    assert sorted(torch.cat([batch.index for batch in passed]).tolist()) == list(range(23))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_names_the_index_and_keeps_its_cause(workers: int):
    who = r", in epoch 1 \(worker [12] of 2\)" if workers else ", in epoch 1"
    where = r"\(.*test_workers\.py, line \d+, in __getitem__\)"
    with pytest.raises(
        TrainingError, match=rf"Failing\[11\] raised ValueError: bad picture {where}{who}\. Mend"
    ) as caught:
        take(of(Failing("raises"), workers=workers), 6)
    assert isinstance(caught.value.__cause__, ValueError)
    if workers:
        assert "in __getitem__" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("kind", ENDING)
def test_what_would_end_a_worker_is_named_with_its_example_and_never_left_out(kind: str, skips: bool) -> None:
    with pytest.raises(
        TrainingError,
        match=rf"Failing\[11\] raised {kind} \(.*, in __getitem__\), in epoch 1 \(worker [12] of 2\)\. That ends a "
        r"process, and reading must not: raise an Exception instead",
    ):
        take(of(Failing(kind), workers=2, left_out={} if skips else None), 6)


@pytest.mark.parametrize("error", ENDING.values(), ids=ENDING)
def test_in_the_training_process_what_ends_it_is_left_alone(error: BaseException) -> None:
    class Ended(Augmented):
        def __getitem__(self, index: int) -> Any:
            raise error

    with pytest.raises(type(error)):
        take(of(Ended(), left_out={}), 1)


def test_an_exception_that_cannot_travel_is_told_in_words():
    with pytest.raises(TrainingError, match=r"Failing\[11\] raised Unpicklable") as caught:
        take(of(Failing("unpicklable"), workers=2), 6)
    assert "In the worker process" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_item_that_is_no_pair_is_described(workers: int):
    with pytest.raises(DataError, match=r"Failing\[11\] is a str: expected a pair \(input, target\)"):
        take(of(Failing("no pair"), workers=workers), 6)


def test_a_worker_that_was_killed_is_named_with_what_it_read() -> None:
    message = r"worker [12] of 2, .* was killed by SIGKILL while it read Failing\[11\] in epoch 1\. .*dataset.workers=0"
    with pytest.raises(TrainingError, match=message):
        take(of(Failing("killed"), workers=2), 6)


def test_a_worker_that_dies_is_noticed_where_its_batch_is_awaited_and_not_before() -> None:
    """torch would raise in whatever the training does at that moment, a save for example."""
    before = signal.getsignal(signal.SIGCHLD)
    stream = of(workers=2).start()
    next(stream)
    (worker, *_) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(0.3)  # not joined: torch looks at processes that nobody has waited for
    with pytest.raises(TrainingError, match="was killed by SIGKILL"):
        list(islice(stream, 50))
    assert before == signal.SIG_DFL or signal.getsignal(signal.SIGCHLD) == before


def test_batches_of_a_dataset_with_broken_examples_do_not_depend_on_workers_nor_on_the_start() -> None:
    bad = dict[int, str]()
    whole = take(of(Failing("raises"), left_out=bad), 14)
    assert list(bad) == [11]
    assert all(11 not in batch.index.tolist() and len(batch.inputs) == 4 for batch in whole)
    for workers in (0, 2):
        for step in (0, 3, 7):
            again = dict[int, str]()
            found = of(Failing("raises"), workers=workers, left_out=again)
            assert_same(take(found, 14 - step, Position(step // 5, step % 5, step)), whole[step:])
            assert again == bad


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pad", [False, True])
def test_an_evaluation_leaves_broken_examples_out(workers: int, pad: bool) -> None:
    bad = dict[int, str]()
    passed = list(of(Failing("raises"), training=False, workers=workers, pad=pad, left_out=bad).start())
    sound = list(of(training=False, pad=False).start())
    assert list(bad) == [11]
    assert sum(batch.size for batch in passed) == 22
    for batch, other in zip(passed, sound, strict=True):
        kept = other.index != 11
        assert torch.equal(batch.inputs[: batch.size], other.inputs[kept])
        assert len(batch.inputs) == (4 if pad else batch.size)
        assert batch.weight is None or batch.weight.tolist() == [float(n < batch.size) for n in range(4)]


def test_the_origin_of_a_batch_is_found_from_its_position() -> None:
    part = Subset(Augmented(), list(range(22, 2, -1)))
    found = of(part)
    passed = take(found, 12)
    for batch in passed:
        origin = found.origin(batch.position)
        assert list(origin.examples) == [22 - index for index in batch.index.tolist()], "of the Dataset that was passed"
        assert (origin.epoch, origin.batch) == (batch.position.epoch + 1, batch.position.batch + 1)


class Signalled(Augmented):
    """Sends its own worker the signals that reach a process group."""

    def __getitem__(self, index: int) -> Any:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitem__(index)


def test_workers_ignore_the_signals_of_the_group():
    assert_same(take(of(Signalled(), workers=2), 7), take(of(), 7))


class Hanging(Augmented):
    """Never returns the example that comes first in the fourth batch."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = multiprocessing.Event()

    def __getitem__(self, index: int) -> Any:
        if index == int(of().layout.order(0)[12]):
            self.hangs.set()
            time.sleep(600)
        return super().__getitem__(index)


@pytest.mark.slow
def test_a_worker_that_hangs_is_stopped_all_the_same():
    dataset = Hanging()
    stream = of(dataset, workers=1).start()
    next(stream)
    next(stream)
    assert dataset.hangs.wait(60)
    stream.close()


SCRIPT = """
import torch
from torch.utils.data import TensorDataset
from shoal.datasets import DatasetBatches

dataset = TensorDataset(torch.zeros(20, 2), torch.zeros(20))
found = DatasetBatches(
    dataset, batch_size=4, seed=0, drop_last=True, device="cpu", workers=1, training=True
)
stream = found.start()
next(stream)
print("done")
"""


def test_a_stream_left_open_does_not_keep_the_process_from_ending():
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True)
    assert (ended.stdout, ended.stderr) == ("done\n", "")


class Threads(Augmented):
    def __getitem__(self, index: int) -> Any:
        return torch.zeros(1), torch.get_num_threads()


def test_a_worker_has_one_thread():
    assert take(of(Threads(), workers=1), 1)[0].targets.tolist() == [1] * 4
