"""Evaluations that give way when a run is asked to stop, so that a signal never waits for one."""

from __future__ import annotations

from collections.abc import Iterator

from shoal.datasets import START, Batch, Batches, Origin, Position, closed
from shoal.training.pulse import Pulse


class Interrupted(Exception):  # noqa: N818  (no error: somebody asked)
    """Raised between two batches of an evaluation when the run was asked to stop."""


class Watched:
    """Batches that end with Interrupted once the run is asked to stop."""

    def __init__(self, batches: Batches, pulse: Pulse) -> None:
        self.batches, self.pulse = batches, pulse

    @property
    def per_epoch(self) -> int:
        """Batches in one pass."""
        return self.batches.per_epoch

    def start(self, at: Position = START) -> Iterator[Batch]:
        """Yield the batches from `at` on."""
        with closed(self.batches.start(at)) as stream:
            for batch in stream:
                if self.pulse.asked is not None:
                    raise Interrupted(self.pulse.asked)
                yield batch

    def origin(self, at: Position) -> Origin | None:
        """Return what the batch at a position is made of."""
        return self.batches.origin(at)
