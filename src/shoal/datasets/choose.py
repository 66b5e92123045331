"""Which kind of batches a split gets: from memory where it is held there, from worker processes otherwise."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch.utils.data import Dataset

from shoal.datasets.batches import Batches
from shoal.datasets.crew import TIMEOUT
from shoal.datasets.examples import Examples, Normalisation, Stream
from shoal.datasets.memory import MemoryBatches
from shoal.datasets.stream_batches import StreamBatches
from shoal.datasets.workers import DatasetBatches


def batches(
    split: Examples | Dataset[Any] | Stream,
    *,
    batch_size: int,
    seed: int,
    drop_last: bool,
    device: torch.device | str,
    normalisation: Normalisation | None = None,
    workers: int = 0,
    training: bool,
    pad: bool = True,
    steps: int | None = None,
    timeout: float | None = TIMEOUT,
    left_out: MutableMapping[int, str] | None = None,
    classes: int | None = None,
) -> Batches:
    """Return the batches of a split.

    `normalisation` is for examples in memory only, `workers` for all others, and `steps` for streams without a length:
    the batches of what then counts as an epoch. Streams are not padded. `timeout`: seconds that
    workers may take for a batch. Examples of a Dataset that cannot be read, or whose label is none of `classes`, are an
    error, or written to `left_out`.
    """
    if isinstance(split, Stream):
        return StreamBatches(
            split,
            batch_size=batch_size,
            seed=seed,
            drop_last=drop_last,
            device=device,
            workers=workers,
            training=training,
            steps=steps,
            timeout=timeout,
        )
    if isinstance(split, Examples):
        return MemoryBatches(
            split,
            batch_size=batch_size,
            seed=seed,
            drop_last=drop_last,
            device=device,
            normalisation=normalisation,
            training=training,
            pad=pad,
        )
    return DatasetBatches(
        split,
        batch_size=batch_size,
        seed=seed,
        drop_last=drop_last,
        device=device,
        workers=workers,
        training=training,
        pad=pad,
        timeout=timeout,
        left_out=left_out,
        classes=classes,
    )
