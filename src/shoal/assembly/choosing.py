"""Rows kept of a pass over a split, on its device: some at fixed places, and those that score highest.

Memory is bounded by the number of rows kept, and nothing waits for the device before the pass has ended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Rows = Mapping[str, Tensor]
Take = Callable[[Tensor], Rows]
"""Returns the named values of some rows of a batch, [n, ...] each."""


class Spread:
    """Rows at `count` places spread evenly over `total` examples, the first among them."""

    def __init__(self, count: int, total: int, device: torch.device) -> None:
        count = min(count, total)
        self.places = [number * total // count for number in range(count)]
        self.on_device = torch.tensor(self.places, dtype=torch.int64, device=device)
        self.seen = 0
        self.kept: list[Rows] = []

    def add(self, size: int, take: Take) -> None:
        """Keep what is to be kept of a batch of `size` examples."""
        low, high = bisect_left(self.places, self.seen), bisect_left(self.places, self.seen + size)
        if low < high:
            self.kept.append(take(self.on_device[low:high] - self.seen))
        self.seen += size

    def rows(self) -> dict[str, Tensor]:
        """Return the rows kept, on the host."""
        return {name: torch.cat([rows[name] for rows in self.kept]).cpu() for name in (self.kept or [{}])[0]}


class Highest:
    """The `count` rows of the highest scores; a score of minus infinity is never kept."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.scores: Tensor | None = None
        self.kept: dict[str, Tensor] = {}

    def add(self, scores: Tensor, take: Take) -> None:
        """Take one batch in: its scores [B], and what to keep of its rows."""
        best = scores.topk(min(self.count, len(scores)))
        rows = take(best.indices)
        if self.scores is None:
            self.scores, self.kept = best.values, dict(rows)
            return
        both = torch.cat([self.scores, best.values])
        top = both.topk(min(self.count, len(both)))
        self.scores = top.values
        self.kept = {
            name: torch.cat([kept, rows[name]]).index_select(0, top.indices) for name, kept in self.kept.items()
        }

    def rows(self) -> dict[str, Tensor]:
        """Return the rows kept, on the host, the highest first."""
        if self.scores is None:
            return {}
        real = (self.scores > -torch.inf).cpu()
        return {name: values.cpu()[real] for name, values in self.kept.items()}
