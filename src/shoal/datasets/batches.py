"""Batches and where they stand: the interface between data and the training loop.

Nothing here keeps a cursor. A position is three integers, from which the same batches follow again, so a run resumes
at any of them and a loop written by hand can use them too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from shoal import rng
from shoal.errors import RecipeError

T = TypeVar("T")
MOST_NAMED, FEW_NAMED = 1000, 5
"""Examples of a batch that are recorded, and that are said, at most."""


class Position(NamedTuple):
    """Where a training stands: epoch, batch of that epoch and step, of the batch that is to be done."""

    epoch: int
    batch: int
    step: int


START = Position(0, 0, 0)


@dataclass(slots=True)
class Batch:
    """One batch on its device. Treat it as immutable: frozen dataclasses cost a microsecond more to create.

    inputs [B, ...] float32; targets [B] int64 labels or [B] or [B, K] float32; index [B] int64: `split.inputs[index]`
    or `dataset[index]` are these examples; weight [B] float32, 0 where an example is padding, None where all count;
    size: the examples that count, known on the host; position: that of this batch.
    """

    inputs: Tensor
    targets: Tensor
    index: Tensor
    weight: Tensor | None
    size: int
    position: Position


@dataclass(frozen=True)
class Origin:
    """Which examples a batch is made of, as `run.json` keeps it and a person reads it: epoch and batch count from 1.

    `examples` are rows of the arrays, or indices of the Dataset, that train was given as; of a stream they count within
    the pass that `of` names. Beyond MOST_NAMED of them, `more` says how many are left out.
    """

    epoch: int
    batch: int
    examples: Sequence[int]
    of: str = "train"
    more: int = 0

    @classmethod
    def at(cls, position: Position, examples: Sequence[int], of: str = "train") -> Origin:
        """Return the origin of the batch at a position."""
        named, more = list(examples[:MOST_NAMED]), max(0, len(examples) - MOST_NAMED)
        return cls(position.epoch + 1, position.batch + 1, named, of, more)

    @property
    def said(self) -> str:
        """The origin as a clause, with the first few of the examples.

        >>> Origin.at(Position(0, 2, 2), range(40, 50)).said
        'batch 3 of epoch 1: examples 40, 41, 42, 43, 44 and 5 more of train'
        """
        few = ", ".join(str(example) for example in self.examples[:FEW_NAMED])
        more = self.more + len(self.examples) - FEW_NAMED
        return (
            f"batch {self.batch:,} of epoch {self.epoch:,}: "
            f"examples {few}{f' and {more:,} more' if more > 0 else ''} of {self.of}"
        )

    def recorded(self, key: str) -> str:
        """Return the origin as a clause, with where the examples that it leaves out stand: a key of `run.json`.

        >>> Origin.at(Position(0, 2, 2), range(40, 46)).recorded("bad_step")
        'batch 3 of epoch 1: examples 40, 41, 42, 43, 44 and 1 more of train (bad_step in run.json names all 6)'
        """
        known = len(self.examples)
        if known <= FEW_NAMED:
            return self.said
        return f"{self.said} ({key} in run.json names {'the first' if self.more else 'all'} {known:,})"

    def plain(self) -> dict[str, Any]:
        """Return the origin as `run.json` has it; `Origin(**plain)` reads it."""
        return asdict(self)


class Batches(Protocol):
    """Batches of one split, with no cursor of their own."""

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        ...

    def start(self, at: Position = START) -> Iterator[Batch]:
        """Yield the batches from `at` on: epoch after epoch without end in training, one pass in evaluation."""
        ...

    def origin(self, at: Position) -> Origin | None:
        """Return what the batch at a position is made of, found from that alone; None where it is not known."""
        ...


@contextmanager
def closed(stream: Iterator[T]) -> Generator[Iterator[T]]:
    """Close a stream of batches at the end, which stops its workers; a traceback would keep it alive otherwise."""
    try:
        yield stream
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True)
class Layout:
    """How the examples of a split fall into batches: which epoch has which order, and what the last batch is like.

    Training shuffles; evaluation keeps the order of rows and, with `pad`, fills its last batch up to `batch_size`.
    """

    total: int
    batch_size: int
    seed: int
    training: bool
    drop_last: bool
    pad: bool

    def __post_init__(self) -> None:
        if self.training and self.drop_last and self.batch_size > self.total:
            raise RecipeError(
                f"batch_size = {self.batch_size:,}: the train split has {self.total:,} examples, less than one batch. "
                f"Give a batch_size of at most {self.total:,}, or dataset.drop_last=false."
            )

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        whole, left = divmod(self.total, self.batch_size)
        return whole + (left > 0 and not (self.training and self.drop_last))

    @property
    def last_size(self) -> int:
        """Examples that count in the last batch of an epoch."""
        return min(self.total, self.per_epoch * self.batch_size) - (self.per_epoch - 1) * self.batch_size

    @property
    def padding(self) -> int:
        """Examples to add to the last batch of an evaluation."""
        return self.batch_size - self.last_size if self.pad and not self.training else 0

    def order(self, epoch: int) -> Tensor:
        """Return the examples of an epoch, in the order of their batches, padding left out."""
        if not self.training:
            return torch.arange(self.total)
        order = torch.randperm(self.total, generator=rng.generator(self.seed, "order", epoch))
        return order[: min(self.total, self.per_epoch * self.batch_size)]

    def rows(self, at: Position) -> Tensor:
        """Return the examples of the batch at a position, padding left out."""
        epoch, batch, _ = self.entry(at)
        return self.order(epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]

    def last_weight(self) -> Tensor | None:
        """Return the weights of a padded last batch, None where nothing is padded."""
        if not self.padding:
            return None
        weight = torch.ones(self.batch_size)
        weight[self.last_size :] = 0
        return weight

    def entry(self, at: Position) -> Position:
        """Return `at` with the end of an epoch written as the start of the next one."""
        if not 0 <= at.batch <= self.per_epoch:
            raise ValueError(f"{at}: an epoch of this split has {self.per_epoch} batches")
        if self.training and at.batch == self.per_epoch:
            return Position(at.epoch + 1, 0, at.step)
        return at
