"""Running averages of what a program measures, for the next row of its history; their state is saved with it.

Sums of what is on a GPU stay there: nothing waits for it before a row is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Averages:
    """Weighted averages by name, since the last row.

    >>> averages = Averages(); averages.add({"loss": 1.0}, weight=3); averages.add({"loss": 5.0}, weight=1)
    >>> averages.drained(), averages.drained()
    ({'loss': 2.0}, {})
    """

    def __init__(self) -> None:
        self.sums: dict[str, tuple[Any, float]] = {}

    def add(self, values: Mapping[str, Any], *, weight: float) -> None:
        """Add values, each with a weight."""
        for name, value in values.items():
            total, weights = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = (total + weight * _wide(value), weights + weight)

    def drained(self) -> dict[str, float]:
        """Return the averages, and begin anew."""
        found = {name: float(total) / weights for name, (total, weights) in self.sums.items() if weights}
        self.sums.clear()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {name: list(pair) for name, pair in self.sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take sums back."""
        self.sums = {name: (total, weights) for name, (total, weights) in state.items()}


def _wide(value: Any) -> Any:
    """A value as it is summed: in float64, where the device has that; off the CPU nobody waits for it."""
    if not isinstance(value, Tensor) or value.device.type == "cpu":
        return float(value)
    return value.float() if value.device.type == "mps" else value.to(torch.float64)
