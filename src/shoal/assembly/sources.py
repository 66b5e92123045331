"""Where the batches of a program come from: arrays, a Dataset, or batches that were made already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch.utils.data import DataLoader, IterableDataset

from shoal import datasets
from shoal.datasets import Position
from shoal.datasets.mapstyle import is_map_style
from shoal.datasets.tensors import TensorBatches
from shoal.errors import InputError


class Source(Protocol):
    """Batches with no cursor of their own."""

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        ...

    def start(self, at: Position) -> Iterator[Any]:
        """Yield the batches from `at` on, epoch after epoch without end."""
        ...


def source_of(
    data: tuple[Any, ...],
    *,
    batch_size: int | None,
    seed: int,
    shuffle: bool,
    drop_last: bool,
    device: Any,
    workers: int,
) -> Source:
    """Return the batches of what was passed to `run.batches`; raises InputError for what has no positions."""
    first: Any = data[0] if data else None
    _refuse_streams(first)
    if len(data) == 1 and hasattr(first, "start") and hasattr(first, "per_epoch"):
        return first
    if not data or batch_size is None:
        raise InputError("batches: expected data and a batch_size, as in run.batches(inputs, targets, batch_size=64).")
    if len(data) > 1 or not is_map_style(first):
        if workers:
            raise InputError("batches: workers read a Dataset; arrays are in memory already. Leave workers out.")
        return TensorBatches(
            data, batch_size=batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last, device=device
        )
    if not shuffle:
        raise InputError("batches: shuffle=False is for arrays; the examples of a Dataset are shuffled.")
    return _Pairs(
        datasets.batches(
            first,
            batch_size=batch_size,
            seed=seed,
            drop_last=drop_last,
            device=device,
            workers=workers,
            training=True,
        )
    )


class _Pairs:
    """Batches of a Dataset as (inputs, targets)."""

    def __init__(self, batches: datasets.Batches) -> None:
        self.batches = batches

    @property
    def per_epoch(self) -> int:
        return self.batches.per_epoch

    def start(self, at: Position) -> Iterator[Any]:
        with datasets.closed(self.batches.start(at)) as stream:
            for batch in stream:
                yield batch.inputs, batch.targets


def _refuse_streams(data: object) -> None:
    """Raise InputError for what can only be gone through from its start."""
    loader = isinstance(data, DataLoader)
    if not (loader or isinstance(data, IterableDataset)):
        return
    kind = "DataLoader" if loader else "IterableDataset"
    instead = "its dataset: run.batches(loader.dataset, batch_size=64)" if loader else "arrays, or a Dataset"
    raise InputError(
        f"batches: a {kind} has no positions at which it could go on. Pass {instead}; or go through it within "
        "run.epochs, where the run is then saved at the start of an epoch."
    )
