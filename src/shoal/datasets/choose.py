"""Which kind of batches a split gets: from memory where it is held there, from worker processes otherwise."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from shoal.datasets.batches import Batches
from shoal.datasets.examples import Examples, Normalisation
from shoal.datasets.memory import MemoryBatches
from shoal.datasets.workers import DatasetBatches


def batches(
    split: Examples | Dataset[Any],
    *,
    batch_size: int,
    seed: int,
    drop_last: bool,
    device: torch.device | str,
    normalisation: Normalisation | None = None,
    workers: int = 0,
    training: bool,
    pad: bool = True,
) -> Batches:
    """Return the batches of a split. `workers` is for Datasets only, `normalisation` for examples in memory only."""
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
    )
