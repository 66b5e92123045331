"""Batches that give way when a run is asked to stop, so that a signal waits neither for data nor for an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from shoal.datasets import START, Batch, Batches, Origin, Position, closed
from shoal.training.pulse import Interrupted, Pulse

T = TypeVar("T")


def attentive(stream: Iterator[T], pulse: Pulse) -> Iterator[T]:
    """Yield the batches of a stream; raise Interrupted once the run is asked to stop, also while one is waited for."""
    try:
        while True:
            pulse.waiting = True
            batch = next(stream, None) if pulse.asked is None else None
            pulse.waiting = False
            if pulse.asked is not None:  # a batch that came nevertheless is left: code that read it may be cut short
                raise Interrupted(pulse.asked)
            if batch is None:
                return
            yield batch
    finally:
        pulse.waiting = False


class Watched:
    """Batches of an evaluation that end with Interrupted once the run is asked to stop."""

    def __init__(self, batches: Batches, pulse: Pulse) -> None:
        self.batches, self.pulse = batches, pulse

    @property
    def per_epoch(self) -> int:
        """Batches in one pass."""
        return self.batches.per_epoch

    def start(self, at: Position = START) -> Iterator[Batch]:
        """Yield the batches from `at` on."""
        with closed(self.batches.start(at)) as stream:
            yield from attentive(stream, self.pulse)

    def origin(self, at: Position) -> Origin | None:
        """Return what the batch at a position is made of."""
        return self.batches.origin(at)
