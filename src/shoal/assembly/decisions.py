"""What was decided when a training went wrong, as `run.json` keeps it: from there on it is part of the run's plan.

A decision is recorded before it is acted upon. A training that is killed at any instant thereafter, and started again,
follows it: checkpoints of the course that was left are dropped, and the rest is a function of recipe and decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

POINT, DECISIONS = "point", "decisions"
"""Keys of a checkpoint's manifest: whether a rewind may go back to it; how many decisions it follows."""


@dataclass(frozen=True)
class Decision:
    """At step `step` (from 1) something went wrong: training went back to where `to` steps were done, and on from there
    with the learning rate multiplied by `lr`, the gradient computed in `accumulate` parts (None: as before)."""

    kind: str
    step: int
    to: int
    cause: str
    lr: float = 1.0
    accumulate: int | None = None

    def plain(self) -> dict[str, Any]:
        """Return the decision as `run.json` has it."""
        return asdict(self)


def recorded(record: Mapping[str, Any]) -> list[Decision]:
    """Return the decisions that a run's record has."""
    return [Decision(**plain) for plain in record.get("guard") or ()]


def lr_factor(decisions: Sequence[Decision], steps: np.ndarray) -> np.ndarray:
    """Return what the learning rate is multiplied by at some steps (counted from 0)."""
    factor = np.ones(len(steps))
    for decision in decisions:
        factor = np.where(steps >= decision.to, factor * decision.lr, factor)
    return factor


def accumulate(decisions: Sequence[Decision], parts: int) -> int:
    """Return in how many parts the gradient is computed, where the recipe says `parts`."""
    return next((decision.accumulate for decision in reversed(decisions) if decision.accumulate is not None), parts)


def follows(manifest: Mapping[str, Any], decisions: Sequence[Decision]) -> bool:
    """Return whether a checkpoint is on the course that the decisions led to, and not on one that was left."""
    missed = decisions[int(manifest.get(DECISIONS, 0)) :]
    return all(int(manifest["step"]) <= decision.to for decision in missed)
