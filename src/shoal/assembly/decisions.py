"""What was decided when a training went wrong, as `run.json` keeps it: from there on it is part of the run's plan.

A decision is recorded before it is acted upon. A training that is killed at any instant thereafter, and started again,
follows it: checkpoints of the course that was left are dropped, and the rest is a function of recipe and decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from torch import nn

from shoal.datasets import Origin
from shoal.errors import NonFiniteError, OutOfMemoryError
from shoal.recipe.schema import Guard
from shoal.training.agenda import Every
from shoal.training.loop import REMEDY

COUPLING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that look at all examples of a batch at once."""
REWIND, MEMORY = "rewind", "memory"
POINT, DECISIONS = "point", "decisions"
"""Keys of a checkpoint's manifest: whether a rewind may go back to it; how many decisions it follows."""


@dataclass(frozen=True)
class Decision:
    """At step `step` (from 1) something went wrong: training went back to where `to` steps were done, and on from there
    with the learning rate multiplied by `lr`, the gradient computed in `accumulate` parts (None: as before).

    `batch` says which examples the step was on, where it was bad for a loss or a gradient.
    """

    kind: str
    step: int
    to: int
    cause: str
    lr: float = 1.0
    accumulate: int | None = None
    batch: Mapping[str, Any] | None = None

    @property
    def said(self) -> str:
        """The decision as a sentence."""
        if self.accumulate is not None:
            return (
                f"{self.cause}: from here on the gradient is computed in {self.accumulate} parts (guard.memory=halve)."
            )
        where = f" It was on {Origin(**self.batch).recorded('guard')}." if self.batch is not None else ""
        return (
            f"{self.cause}: training goes back to step {self.to:,}, and on with the learning rate multiplied by "
            f"{self.lr:g} (guard.action=rewind).{where}"
        )

    def plain(self) -> dict[str, Any]:
        """Return the decision as `run.json` has it."""
        return asdict(self)


def rewind(error: NonFiniteError, guard: Guard, points: Every, decisions: Sequence[Decision]) -> Decision | None:
    """Return how training goes on after a step that was bad, or None where it ends.

    It goes back to the last point before the step; where it went back to that one before, and got no further than the
    next, to the point before that: the weights there were on their way already.
    """
    made = [decision for decision in decisions if decision.kind == REWIND]
    if guard.action != "rewind" or error.step is None or len(made) >= guard.limit:
        return None
    to = points.latest(error.step - 1)
    if made and made[-1].to <= to <= (points.following(made[-1].to) or to):
        to = points.latest(max(made[-1].to - 1, 0))
    return Decision(REWIND, error.step, to, error.cause, lr=guard.rewind_lr, batch=error.batch)


def spent(error: NonFiniteError, decisions: Sequence[Decision]) -> NonFiniteError:
    """Return the error of a run whose rewinds are spent, with what they tell about its cause."""
    made = [decision for decision in decisions if decision.kind == REWIND]
    if not made:
        return error
    said = str(error).removesuffix(REMEDY).rstrip()
    times = "once" if len(made) == 1 else f"{len(made):,} times"
    told = f"Training had gone back {times}, as often as it may (guard.limit)"
    whole = in_all(made)
    if whole < 1:
        told += f", with the learning rate multiplied by {whole:g} in all"
    if whole < 1 and {decision.step for decision in made} == {error.step}:
        advice = (
            "It was bad at that step each time, whatever the learning rate was: its examples are the likely cause. "
            "Take them out, or leave its update out by guard.action=skip."
        )
    else:
        advice = REMEDY
    return NonFiniteError(f"{said} {told}. {advice}", step=error.step, cause=error.cause, batch=error.batch)


def in_all(decisions: Sequence[Decision]) -> float:
    """Return what the learning rate is multiplied by once all decisions hold."""
    return math.prod(decision.lr for decision in decisions)


def told(decisions: Sequence[Decision]) -> str:
    """Return the last decision as a sentence, with what it and those before it come to."""
    last, made = decisions[-1], [decision for decision in decisions if decision.kind == REWIND]
    if last.kind != REWIND or len(made) < 2:
        return last.said
    first = max(decision.to for decision in made)
    since = f" from step {first:,} on" if first > last.to else ""
    return f"{last.said} By {len(made):,} rewinds the learning rate is multiplied by {in_all(made):g} in all{since}."


def halve(error: OutOfMemoryError, guard: Guard, batch_size: int, parts: int) -> Decision | None:
    """Return how training goes on where a step found no memory, or None where it ends."""
    if guard.memory != "halve" or error.step is None:
        return None
    more = next((parts for parts in range(2 * parts, batch_size + 1) if batch_size % parts == 0), None)
    if more is None:
        return None
    return Decision(MEMORY, error.step, error.step - 1, f"memory ran out at step {error.step:,}", accumulate=more)


def couples(model: nn.Module) -> str | None:
    """Return the name of a layer that looks at all examples of a batch at once: parts of it are not the same to it."""
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    return next((name for name, module in modules if isinstance(module, COUPLING) and module.training), None)


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
