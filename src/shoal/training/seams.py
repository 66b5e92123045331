"""What the loop needs of the rest, as small protocols: nobody must inherit to plug in.

Whatever is per run is a list with one item a run, in the order of `Engine.runs`: one for the solo engine, several
for a stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from shoal.datasets import Batch, Batches, Origin, Position
from shoal.training.plan import Plan

Weights = Literal["raw", "best", "average"]
AVERAGED = "_average"
"""What the name of a split ends in where averaged weights were measured: `valid_average.accuracy`."""


class Row(NamedTuple):
    """One line of one run's history; a program without epochs has none."""

    run: int
    step: int
    epoch: float | None
    metrics: Mapping[str, float]


class Bad(NamedTuple):
    """A step, counted from 1, whose update must not be made, and why."""

    step: int
    cause: Literal["loss", "gradient", "leap"]

    @property
    def said(self) -> str:
        """The step as a clause."""
        what = {
            "loss": f"the loss at step {self.step:,} is not finite",
            "gradient": f"the gradient at step {self.step:,} is not finite, although the loss is",
            "leap": f"the loss at step {self.step:,} is far above its recent mean (guard.spike)",
        }
        return what[self.cause]


class Skips(NamedTuple):
    """Updates that were left out for a step that was bad, and the last such step, counted from 1."""

    updates: int
    last: int


class Hypers(Protocol):
    """The values of scheduled hyperparameters, computed ahead by blocks."""

    names: tuple[str, ...]
    recorded: tuple[str, ...]
    """The first of the names: those that a history shows."""

    @property
    def version(self) -> int:
        """A number that changes when values of steps to come have changed."""
        ...

    def block(self, first: int, last: int) -> np.ndarray:
        """Return the values of steps first..last-1: [steps, runs, H]."""
        ...


class Engine(Protocol):
    """What performs steps."""

    @property
    def runs(self) -> int:
        """How many runs are trained."""
        ...

    @property
    def plan(self) -> Plan:
        """What was decided for this machine."""
        ...

    def upload(self, block: np.ndarray) -> Sequence[Any]:
        """Take a block of hypers [steps, runs, H]; return one item a step for `step`."""
        ...

    def step(self, batch: Batch, hyper: Any) -> None:
        """Perform one update; never waits for the device."""
        ...

    def evaluate(self, batches: Batches, *, weights: Weights = "raw") -> list[dict[str, float]]:
        """Return every metric over one pass, a dict a run."""
        ...

    def bad_steps(self) -> list[Bad | None]:
        """Return, for each run, the step for which it is to stop; no update was made from then on.

        This, `skips`, `finite`, `loss_scales` and `drain` are the only waits for the device.
        """
        ...

    def skips(self) -> list[Skips | None]:
        """Return, for each run, the updates that were left out so far; None where there were none."""
        ...

    def finite(self) -> list[bool]:
        """Return, for each run, whether its weights are finite: a finite loss may have a gradient that is not."""
        ...

    def loss_scales(self) -> list[float | None]:
        """Return, for each run, the loss scale of fp16; None under other precisions."""
        ...

    def drain(self) -> list[dict[str, float]]:
        """Return and reset what the steps added up to: means over examples, a dict a run."""
        ...

    def has_average(self) -> bool:
        """Return whether there are averaged weights by now."""
        ...

    def keep(self, run: int, *, weights: Weights = "raw") -> None:
        """Remember the present weights of a run, or their average, as its best."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that has to be saved, by name: tensors and plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        ...


class Callback(Protocol):
    """What looks at each evaluation, and may ask a run to stop; its state is saved with the engine's."""

    name: str

    def evaluated(self, engine: Engine, rows: Sequence[Row]) -> None:
        """See the rows of an evaluation, one a run."""
        ...

    def stop(self) -> str | None:
        """Return why training should end now, or None."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        ...


class Recorder(Protocol):
    """What training sees of the store and the screen."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Write rows of history."""
        ...

    def skipped(self, run: int, skips: Skips, origin: Origin | None) -> None:
        """Tell of updates that were left out since the row before, and which batch the last of them was on."""
        ...

    def save(self, engine: Engine, at: Position, callbacks: Sequence[Callback], *, due: bool = False) -> None:
        """Write a checkpoint from which training continues at `at`, with what is `due` there still to be done."""
        ...

    def tick(self, at: Position) -> bool:
        """Show progress; return whether a checkpoint is due by the clock. Called a few times a second."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated as training goes, and under which name."""

    split: str
    batches: Batches
