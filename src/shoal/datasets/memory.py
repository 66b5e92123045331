"""Batches of examples held in memory, on the device: order by epoch, gathers by block, batches as pieces of a block.

A gather costs 5 to 10 microseconds before it copies anything, as much as a small batch itself, so several small
batches are gathered at once and split. Blocks lie on a fixed grid in the epoch: a training that starts in the middle
of one gathers it whole, because a batch at another memory alignment may give other last bits in a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import cast

import torch
from torch import Tensor

from shoal.datasets.batches import START, Batch, Layout, Origin, Position
from shoal.datasets.examples import Examples, Normalisation

AHEAD_BYTES = 64 << 20
"""A split of at most these as float32 is converted and normalised once, in advance."""
BLOCK_BYTES = 1 << 19
"""Inputs gathered at once, as float32: within the cache of one core."""


class MemoryBatches:
    """Batches of one split in memory.

    Inputs come as float32, normalised: in advance where the split is small, after the gather where it is large, with
    the same bits. A last smaller training batch keeps its size; in evaluation it is padded with the first example at
    weight 0, or left smaller where `pad` is false (for losses that return one number).
    """

    def __init__(
        self,
        examples: Examples,
        *,
        batch_size: int,
        seed: int,
        drop_last: bool,
        device: torch.device | str,
        normalisation: Normalisation | None,
        training: bool,
        pad: bool = True,
    ) -> None:
        self.device = torch.device(device)
        self.layout = Layout(len(examples), batch_size, seed, training, drop_last, pad)
        self.per_epoch = self.layout.per_epoch
        numbers = examples.inputs[0].numel() * 4
        self._block = max(1, BLOCK_BYTES // (batch_size * numbers)) * batch_size
        self._place(examples, None if normalisation is None else normalisation.to(self.device))
        weight = self.layout.last_weight()
        self._last_weight = None if weight is None else weight.to(self.device)

    def _place(self, examples: Examples, constants: Normalisation | None) -> None:
        """Move the split to the device, once, and finish its inputs in advance where they are small."""
        inputs, targets, rows = examples.inputs, examples.targets, examples.rows
        ahead = len(examples) * inputs[0].numel() * 4 <= AHEAD_BYTES
        self._kind = torch.int64 if examples.tokens else torch.float32
        unfinished = constants is not None or inputs.dtype != self._kind
        moved = inputs.device != self.device
        self._names = None if rows is None else rows.to(self.device)
        self._rows = self._names  # what is still to be looked up in the tensors below
        if rows is not None and (moved or (ahead and unfinished)):
            inputs, targets, self._rows = inputs[rows], targets[rows], None
        if moved:  # float64 does not exist on every device
            inputs = (inputs.float() if inputs.dtype == torch.float64 else inputs).to(self.device)
        kind = torch.float32 if targets.is_floating_point() else torch.int64
        self._targets = targets.to(self.device) if examples.tokens else targets.to(kind).to(self.device)
        self._inputs = _finished(inputs, constants, self._kind, own=False) if ahead and unfinished else inputs
        self._unfinished = unfinished and not ahead
        self._constants = constants

    def start(self, at: Position = START) -> Iterator[Batch]:
        """Yield the batches from `at` on: epoch after epoch without end in training, one pass in evaluation."""
        epoch, first, step = self.layout.entry(at)
        last, size = self.per_epoch - 1, self.layout.batch_size
        while True:
            number = first
            for inputs, targets, index in self._epoch(epoch, first):
                if number == last:
                    position = Position(epoch, number, step)
                    yield Batch(inputs, targets, index, self._last_weight, self.layout.last_size, position)
                else:
                    yield Batch(inputs, targets, index, None, size, Position(epoch, number, step))
                number += 1
                step += 1
            if not self.layout.training:
                return
            epoch, first = epoch + 1, 0

    def origin(self, at: Position) -> Origin:
        """Return what the training batch at a position is made of: rows of the arrays."""
        rows = self.layout.rows(at)
        names = rows if self._names is None else self._names.cpu()[rows]
        return Origin.at(at, cast(list[int], names.tolist()))

    def _epoch(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        size, block = self.layout.batch_size, self._block
        select, names = self._order(epoch)
        begin = first * size // block * block
        skip = first - begin // size
        for low in range(begin, len(select), block):
            rows = select[low : low + block]
            index = rows if names is select else names[low : low + block]
            inputs = self._inputs.index_select(0, rows)
            if self._unfinished:
                inputs = _finished(inputs, self._constants, self._kind, own=True)
            targets = self._targets.index_select(0, rows)
            if self._kind == torch.int64:  # blocks of tokens overlap in memory: they are widened once they are gathered
                targets = targets.to(torch.int64)
            if block == size:
                yield inputs, targets, index
                continue
            # unsafe_split: pieces that autograd knows as tensors of their own, so that one can be changed in place
            pieces = zip(inputs.unsafe_split(size), targets.unsafe_split(size), index.unsafe_split(size), strict=True)
            yield from islice(pieces, skip, None)
            skip = 0

    def _order(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the rows to gather in an epoch, and the rows that these are in the arrays of the split."""
        order = self.layout.order(epoch)
        if self.layout.padding:
            order = torch.cat((order, torch.zeros(self.layout.padding, dtype=torch.int64)))
        if self.device.type == "cuda":  # from pinned memory the copy does not wait for the device
            order = order.pin_memory().to(self.device, non_blocking=True)
        else:
            order = order.to(self.device)
        names = order if self._names is None else self._names[order]
        return (order if self._rows is None else names), names


def _finished(inputs: Tensor, constants: Normalisation | None, kind: torch.dtype, *, own: bool) -> Tensor:
    """Return inputs as float32, normalised, tokens as int64; in place where `own` says that nobody else has them."""
    if constants is None:
        return inputs.to(kind)
    if inputs.dtype in (torch.float64, torch.bool):  # no one-pass subtraction gives float32
        inputs = inputs.to(torch.float32)
    if own and inputs.dtype == torch.float32:
        return inputs.sub_(constants.mean).div_(constants.deviation)
    return (inputs - constants.mean).div_(constants.deviation)  # integers are converted in the same pass
