"""Batches of a map-style Dataset, read in this process or by worker processes, with the same content either way.

Workers are told whole addresses (epoch, indices), so nothing they do depends on how many they are or on when they
were started. They ignore signals: those reach the whole process group, and it is the training that decides
what they mean (it saves and then stops the workers).
"""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from shoal import rng
from shoal.datasets.batches import START, Batch, Layout, Position
from shoal.datasets.items import fetch
from shoal.errors import ShoalError, TrainingError


class Address(NamedTuple):
    """What a worker is asked for: one batch."""

    epoch: int
    batch: int
    indices: list[int]
    padding: int


class Fetched(NamedTuple):
    """What it answers: a batch, or why there is none."""

    inputs: Tensor | None
    targets: Tensor | None
    error: Exception | None


class DatasetBatches:
    """Batches of one split that is a map-style Dataset of (input, target) pairs.

    Before `dataset[index]` the generators of torch, NumPy and Python are seeded from (seed, epoch, index), so its
    augmentation resumes and does not depend on `workers`; with no workers, this process gets its own state back.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        seed: int,
        drop_last: bool,
        device: torch.device | str,
        workers: int,
        training: bool,
        pad: bool = True,
    ) -> None:
        self.dataset, self.workers = dataset, workers
        self.device = torch.device(device)
        self.layout = Layout(len(dataset), batch_size, seed, training, drop_last, pad)
        self.per_epoch = self.layout.per_epoch
        self._source = _Source(dataset, seed)

    def start(self, at: Position = START) -> Iterator[Batch]:
        """Yield the batches from `at` on: epoch after epoch without end in training, one pass in evaluation."""
        step = self.layout.entry(at).step
        fetched = self._in_workers(at) if self.workers else self._in_process(at)
        for address, (inputs, targets, error) in fetched:
            if error is not None:
                raise error
            assert inputs is not None and targets is not None
            yield self._batch(address, inputs, targets, step)
            step += 1

    def _batch(self, address: Address, inputs: Tensor, targets: Tensor, step: int) -> Batch:
        index = torch.tensor(address.indices + [0] * address.padding)
        weight = self.layout.last_weight() if address.padding else None
        return Batch(
            inputs=inputs.to(self.device, non_blocking=True),
            targets=targets.to(self.device, non_blocking=True),
            index=index.to(self.device, non_blocking=True),
            weight=None if weight is None else weight.to(self.device),
            size=len(address.indices),
            position=Position(address.epoch, address.batch, step),
        )

    def _addresses(self, at: Position) -> Iterator[Address]:
        epoch, first, _ = self.layout.entry(at)
        size = self.layout.batch_size
        while True:
            order = cast(list[int], self.layout.order(epoch).tolist())
            for batch in range(first, self.per_epoch):
                padding = self.layout.padding if batch == self.per_epoch - 1 else 0
                yield Address(epoch, batch, order[batch * size : (batch + 1) * size], padding)
            if not self.layout.training:
                return
            epoch, first = epoch + 1, 0

    def _in_process(self, at: Position) -> Iterator[tuple[Address, Fetched]]:
        pinned = self.device.type == "cuda"
        for address in self._addresses(at):
            with rng.preserved():
                inputs, targets = self._source.read(address)
            if pinned:
                inputs, targets = inputs.pin_memory(), targets.pin_memory()
            yield address, Fetched(inputs, targets, None)

    def _in_workers(self, at: Position) -> Iterator[tuple[Address, Fetched]]:
        """One set of workers for all epochs of this start; they read ahead across the end of an epoch."""
        source: Any = self._source  # torch asks for a Dataset by name and uses __getitem__ alone
        loader: DataLoader[Any] = DataLoader(
            source,
            batch_size=None,
            sampler=_Sampler(self, at),
            num_workers=self.workers,
            collate_fn=as_it_is,
            worker_init_fn=prepare_worker,
            pin_memory=self.device.type == "cuda",
            generator=rng.generator(self.layout.seed, "workers"),  # else it would draw from the caller's
        )
        with running(loader) as iterator:
            for address in self._addresses(at):
                fetched = following(iterator)
                assert fetched is not None, "there is an answer for every address"
                yield address, fetched


class _Source:
    """The Dataset as workers see it: whole batches by address, errors as answers."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def read(self, address: Address) -> tuple[Tensor, Tensor]:
        return fetch(self.dataset, address.indices, seed=self.seed, epoch=address.epoch, padding=address.padding)

    def __getitem__(self, address: Address) -> Fetched:
        try:
            return Fetched(*self.read(address), None)
        except ShoalError as error:
            return Fetched(None, None, portable(error))


class _Sampler:
    """The addresses from a position on; torch asks for an iterable that can be started."""

    def __init__(self, batches: DatasetBatches, at: Position) -> None:
        self.batches, self.at = batches, at

    def __iter__(self) -> Iterator[Address]:
        return self.batches._addresses(self.at)  # pyright: ignore[reportPrivateUsage]


def portable(error: ShoalError) -> ShoalError:
    """The error with its cause where that can be pickled, and the worker's traceback as a note in any case.

    Pickling drops `__cause__` but keeps `__dict__`, which is where the cause travels.
    """
    cause = error.__cause__
    carried = type(error)(str(error))
    if cause is not None:
        carried.add_note("In the worker process:\n" + "".join(traceback.format_exception(cause)))
        try:
            pickle.loads(pickle.dumps(cause))
        except Exception:  # noqa: BLE001  (whatever a user's class does when pickled; the note has its text)
            cause = None
    carried.__dict__["worker_cause"] = cause
    return carried


def as_it_is(fetched: Any) -> Any:
    """Collate nothing: what workers give are whole batches."""
    return fetched


def prepare_worker(_: int) -> None:
    """Leave signals to the training, and the other cores to the other workers."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)


@contextmanager
def running(loader: DataLoader[Any]) -> Generator[Iterator[Fetched]]:
    """Start the workers of a loader, and stop them at the end of the block, or of the process."""
    before = set(multiprocessing.active_children())
    iterator = iter(loader)
    started = [child for child in multiprocessing.active_children() if child not in before]
    stop = partial(_stop, iterator, started)
    atexit.register(stop)  # a stream left open: multiprocessing would send SIGTERM and wait for good
    try:
        yield iterator
    finally:
        atexit.unregister(stop)
        stop()


def following(iterator: Iterator[Fetched]) -> Fetched | None:
    """Return the next of what workers fetch, None at the end; raises what a worker raised."""
    try:
        fetched = next(iterator, None)
    except (RuntimeError, OSError, EOFError) as error:
        raise TrainingError(
            f"a worker process that reads examples ended unexpectedly, killed or out of memory ({error}). "
            "Start again to resume; with dataset.workers=0 examples are read in the training process."
        ) from error
    if fetched is not None and fetched.error is not None:
        raise fetched.error from fetched.error.__dict__.pop("worker_cause", None)
    return fetched


def _stop(iterator: Any, started: list[Any]) -> None:
    """Stop the workers; one that hangs in the user's code ignores SIGTERM and is killed."""
    shut_down = getattr(iterator, "_shutdown_workers", None)
    if shut_down is not None:
        shut_down()
    for child in started:
        if child.is_alive():
            child.kill()
            child.join()
