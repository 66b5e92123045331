"""Batches of any tensors of one length, for loops written by hand: the order of an epoch is a function of its address.

Nothing is converted or normalised. Each batch is gathered by itself, so that it lies in memory alike wherever a loop
resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from shoal.datasets.batches import START, Layout, Position
from shoal.datasets.convert import to_tensor
from shoal.errors import DataError


class TensorBatches:
    """Batches of arrays or tensors [N, ...]: of one array a tensor [B, ...], of several a tuple of such.

    Without `shuffle` the order is that of the rows.
    """

    def __init__(
        self,
        arrays: Sequence[Any],
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.tensors = [self._placed(array, number) for number, array in enumerate(arrays, 1)]
        lengths = {len(tensor) for tensor in self.tensors}
        if len(lengths) > 1:
            told = ", ".join(f"{len(tensor):,}" for tensor in self.tensors)
            raise DataError(f"the arrays have {told} rows: expected as many in each, one an example.")
        total = lengths.pop()
        if type(batch_size) is not int or not 1 <= batch_size <= (total if drop_last else batch_size):
            whole = f" of at most {total:,}, the number of examples, or drop_last=False" if drop_last else ""
            raise DataError(f"batch_size = {batch_size!r}: expected a whole number from 1{whole}.")
        self.layout = Layout(total, batch_size, seed, training=True, drop_last=drop_last, pad=False)
        self.shuffle, self.per_epoch = shuffle, self.layout.per_epoch

    def start(self, at: Position = START) -> Iterator[Any]:
        """Yield the batches from `at` on, epoch after epoch without end."""
        epoch, first, _ = self.layout.entry(at)
        while True:
            order = self.layout.order(epoch) if self.shuffle else torch.arange(self.layout.total)
            order = order[: min(self.layout.total, self.per_epoch * self.layout.batch_size)].to(self.device)
            parts: list[Tensor] = list(torch.split(order, self.layout.batch_size))
            for rows in parts[first:]:
                batch = [tensor.index_select(0, rows) for tensor in self.tensors]
                yield tuple(batch) if len(batch) > 1 else batch[0]
            epoch, first = epoch + 1, 0

    def _placed(self, array: Any, number: int) -> Tensor:
        tensor = to_tensor(array, f"array {number}").to(self.device)
        if tensor.ndim == 0 or not len(tensor):
            raise DataError(f"array {number} has shape {list(tensor.shape)}: expected [examples, ...], at least one.")
        return tensor
