"""Batches of a map-style Dataset, read in this process or by worker processes, with the same content either way.

Workers are told whole addresses (epoch, indices), so nothing they do depends on how many they are or on when they
were started.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from typing import Any, cast

import torch

from shoal import rng
from shoal.datasets.batches import START, Batch, Layout, Origin, Position
from shoal.datasets.crew import TIMEOUT, Crew, portable
from shoal.datasets.items import place, users_own
from shoal.datasets.posts import Post, Posts
from shoal.datasets.reading import Address, Fetched, Reader
from shoal.errors import ShoalError


class DatasetBatches:
    """Batches of one split that is a map-style Dataset of (input, target) pairs.

    Before `dataset[index]` the generators of torch, NumPy and Python are seeded from (seed, epoch, index), so its
    augmentation resumes and does not depend on `workers`; with no workers, this process gets its own state back.

    With `left_out`, examples that cannot be read are left out (see `reading`) and written there, each with the reason
    that was found first; without it they are an error. Their indices are those of the Dataset that the user passed.
    Where targets are labels, `classes` says of how many classes.
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
        timeout: float | None = TIMEOUT,
        left_out: MutableMapping[int, str] | None = None,
        classes: int | None = None,
    ) -> None:
        self.dataset, self.workers, self.left_out = dataset, workers, left_out
        self.device = torch.device(device)
        self.layout = Layout(len(dataset), batch_size, seed, training, drop_last, pad)
        self.per_epoch = self.layout.per_epoch
        self._reader = Reader(dataset, seed, training, skips=left_out is not None, classes=classes)
        self._crew = Crew(workers, seed, self.device.type == "cuda", timeout, self._named)

    def start(self, at: Position = START) -> Iterator[Batch]:
        """Yield the batches from `at` on: epoch after epoch without end in training, one pass in evaluation."""
        step = self.layout.entry(at).step
        for address, fetched in self._in_workers(at) if self.workers else self._in_process(at):
            for index, why in fetched.broken:
                assert self.left_out is not None
                self.left_out.setdefault(users_own(self.dataset, index)[1], why)
            if fetched.inputs is not None:
                yield self._batch(address, fetched, step)
                step += 1

    def origin(self, at: Position) -> Origin:
        """Return what the training batch at a position is made of: indices of the Dataset that the user passed."""
        rows = cast(list[int], self.layout.rows(at).tolist())
        return Origin.at(at, [users_own(self.dataset, row)[1] for row in rows])

    def _batch(self, address: Address, fetched: Fetched, step: int) -> Batch:
        inputs, targets, indices, size = fetched.inputs, fetched.targets, fetched.indices, fetched.size
        assert inputs is not None and targets is not None
        weight = None
        if size < len(indices):
            weight = (torch.arange(len(indices)) < size).to(torch.float32)
        return Batch(
            inputs=inputs.to(self.device, non_blocking=True),
            targets=targets.to(self.device, non_blocking=True),
            index=torch.tensor(indices).to(self.device, non_blocking=True),
            weight=None if weight is None else weight.to(self.device),
            size=size,
            position=Position(address.epoch, address.batch, step),
        )

    def _addresses(self, at: Position) -> Iterator[Address]:
        epoch, first, _ = self.layout.entry(at)
        size = self.layout.batch_size
        places = size if self.layout.pad and not self.layout.training else 0
        while True:
            order = cast(list[int], self.layout.order(epoch).tolist())
            for batch in range(first, self.per_epoch):
                yield Address(epoch, batch, order[batch * size : (batch + 1) * size], places)
            if not self.layout.training:
                return
            epoch, first = epoch + 1, 0

    def _in_process(self, at: Position) -> Iterator[tuple[Address, Fetched]]:
        for address in self._addresses(at):
            with rng.preserved():
                fetched = self._reader.read(address)
            if self.device.type == "cuda" and fetched.inputs is not None and fetched.targets is not None:
                fetched = fetched._replace(inputs=fetched.inputs.pin_memory(), targets=fetched.targets.pin_memory())
            yield address, fetched

    def _in_workers(self, at: Position) -> Iterator[tuple[Address, Fetched]]:
        """One set of workers for all epochs of this start; they read ahead across the end of an epoch."""
        posts = Posts(self.workers)
        source = _ByAddress(replace(self._reader, posts=posts))
        with self._crew.reading(source, posts, sampler=_Sampler(self, at)) as answers:
            yield from zip(self._addresses(at), answers, strict=True)

    def _named(self, post: Post) -> str:
        where = f"epoch {post.epoch + 1:,}" if self.layout.training else "an evaluation"
        return f"{place(self.dataset, post.example)} in {where}"


class _ByAddress:
    """The Dataset as workers see it: whole batches by address, errors as answers."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __getitem__(self, address: Address) -> Fetched:
        try:
            return self.reader.read(address)
        except ShoalError as error:
            return Fetched(None, None, portable(error))


class _Sampler:
    """The addresses from a position on; torch asks for an iterable that can be started."""

    def __init__(self, batches: DatasetBatches, at: Position) -> None:
        self.batches, self.at = batches, at

    def __iter__(self) -> Iterator[Address]:
        return self.batches._addresses(self.at)  # pyright: ignore[reportPrivateUsage]
