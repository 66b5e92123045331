"""Data in memory that several runs of one process read: loaded, checked and hashed once.

Only what nothing changes: splits that are whole in memory. A file that is replaced meanwhile is not noticed, so that
the runs of one sweep are about the same data.
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.datasets import Data, Examples

KEPT = 2
"""Datasets that are kept; the least recently used one goes."""


class Shelf:
    """The datasets that were used last."""

    def __init__(self) -> None:
        self._kept = dict[str, Data]()

    def data(self, key: str | None, build: Callable[[], Data]) -> Data:
        """Return the data under a key, built where they are not there; None is never kept."""
        if key is None:
            return build()
        found = self._kept.pop(key, None) or build()
        if all(isinstance(split, Examples) for split in found.splits.values()):
            self._kept[key] = found
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return found
