"""How much of the new weights an average takes in at each step: `average += w (weights - average)`.

Every average of a recipe is such a weight w by step, between 0 and 1, so that one line of arithmetic on the device
serves all of them, and nothing but the average itself has to be saved. Updates are counted from 0: `w[t]` is for
after update t, when t + 1 steps are done. A weight depends on its step only, never on the block it was asked for in.

    ema         1 - min(decay, (1 + t) / (10 + t))        at every step
    swa         1 / n at the n-th step of averaging, else 0: the average is the mean of those weights
    lookahead   alpha every k steps, else 0; the weights then restart from the average, which is the engine's part
    none        0

What is here too is the learning rate that SWA asks for from its start point on (`swa_lr`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shoal.errors import RecipeError, unknown
from shoal.schedules.drops import passed
from shoal.schedules.span import LONGER, Factors, Steps


class Entry(Protocol):
    """What is needed of an entry of a recipe: its name and its keys."""

    @property
    def name(self) -> str:
        """The name in the table."""
        ...

    def model_dump(self, *, exclude: set[str]) -> dict[str, Any]:
        """Return the keys with their values."""
        ...


@dataclass(frozen=True)
class Length:
    """How long the training is: `per_epoch` steps are an epoch, and intervals count in epochs where `by_epochs`."""

    total: int
    per_epoch: int
    by_epochs: bool


def none(steps: Steps, length: Length) -> Factors:
    """0: no average."""
    del length
    return np.zeros(steps.shape)


def ema(steps: Steps, length: Length, *, decay: float, warmup: bool = True) -> Factors:
    """1 - min(decay, (1 + t) / (10 + t)); without `warmup`, 1 - decay.

    The rising decay is that of TensorFlow's ExponentialMovingAverage(num_updates): the average forgets the initial
    weights within some tens of steps, however close to 1 its decay is.

    >>> ema(np.array([0, 90, 10**6]), Length(10**6, 1, True), decay=0.999).round(3).tolist()
    [0.9, 0.09, 0.001]
    """
    del length
    kept = np.full(steps.shape, decay)
    return 1.0 - (np.minimum(kept, (1.0 + steps) / (10.0 + steps)) if warmup else kept)


def swa(
    steps: Steps, length: Length, *, start: float, every: float | None, lr: float | None = None, anneal_steps: int = 0
) -> Factors:
    """1 / n at the n-th step of averaging, else 0 (arXiv 1803.05407, algorithm 1): the running mean.

    Averaging is due wherever `evaluate.every` would be due with the same interval, from the start point to the end:
    with the interval of one epoch, at the ends of epochs. Raises RecipeError where nothing would be averaged.

    >>> swa(np.arange(8), Length(8, 2, True), start=0.5, every=None).round(3).tolist()
    [0.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.0, 0.333]
    """
    if lr is None and anneal_steps > 0:
        raise RecipeError(
            f"average.anneal_steps = {anneal_steps}: there is no learning rate to go to. Give average.lr, or leave it "
            "out."
        )
    begins, interval = swa_start(start, length.total), _interval(every, length)
    before = passed(np.array([max(begins, 1) - 1]), interval)
    if begins >= length.total or passed(np.array([length.total]), interval) <= before:
        raise RecipeError(_nothing_averaged(start, every, interval, length))
    done = steps + 1
    count = passed(done, interval) - before
    due = (count > 0) & (passed(done, interval) > passed(steps, interval)) & (done <= length.total)
    return np.where(due, 1.0 / np.maximum(count, 1), 0.0)


def lookahead(steps: Steps, length: Length, *, every: int, alpha: float) -> Factors:
    """alpha after every so many steps, else 0 (arXiv 1907.08610, algorithm 1).

    >>> lookahead(np.arange(5), Length(5, 1, True), every=2, alpha=0.5).tolist()
    [0.0, 0.5, 0.0, 0.5, 0.0]
    """
    if every > length.total:
        raise RecipeError(
            f"average.every = {every}: the slow weights would never move, for the training takes {length.total:,} "
            f"steps: expected at most {length.total:,}. Shorten the interval, {LONGER}."
        )
    return np.where((steps + 1) % every == 0, alpha, 0.0)


AVERAGES: dict[str, Callable[..., Factors]] = {"none": none, "ema": ema, "swa": swa, "lookahead": lookahead}
"""Every average by its name in a recipe."""


def average_weights(part: Entry, steps: Steps, *, total: int, per_epoch: int, by_epochs: bool) -> NDArray[np.float64]:
    """Return the weight of the new weights after each of the updates `steps`, counted from 0: float64, [len(steps)].

    `part` is the recipe's average; `total` and `per_epoch` are numbers of steps; `by_epochs` says that the budget is
    given in epochs, the unit in which intervals then count. Raises RecipeError for an average that never takes
    anything in.
    """
    if part.name not in AVERAGES:
        raise RecipeError(unknown("average", part.name, AVERAGES))
    return AVERAGES[part.name](steps, Length(total, per_epoch, by_epochs), **part.model_dump(exclude={"name"}))


def swa_start(start: float, total: int) -> int:
    """Return how many steps are done when SWA starts: at the share `start` of the training."""
    return round(start * total)


def swa_lr(steps: Steps, before: float, *, start: float, total: int, lr: float, anneal_steps: int) -> Factors:
    """Return the learning rate of SWA at each step from its start point on; at earlier steps `before` itself.

    `before` is the value that the schedule has at the start point. From there half a cosine leads to `lr` in
    `anneal_steps` steps, and `lr` is held: `torch.optim.swa_utils.SWALR(anneal_strategy="cos")`, made at the start
    point. Raises RecipeError where the way to `lr` is longer than what is left.

    >>> swa_lr(np.arange(8), 0.4, start=0.5, total=8, lr=0.2, anneal_steps=2).round(3).tolist()
    [0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.2, 0.2]
    """
    begins = swa_start(start, total)
    if anneal_steps > total - begins:
        raise RecipeError(
            f"average.anneal_steps = {anneal_steps:,}: {total - begins:,} steps are left after average.start = "
            f"{start:g} (step {begins:,} of {total:,}): expected at most that. Shorten it, start earlier, {LONGER}."
        )
    share = np.clip((steps - begins) / anneal_steps, 0.0, 1.0) if anneal_steps else np.where(steps < begins, 0.0, 1.0)
    turned = (1.0 - np.cos(np.pi * share)) / 2.0
    return before * (1.0 - turned) + lr * turned


def _interval(every: float | None, length: Length) -> float:
    if every is None:
        return float(length.per_epoch)
    return max(every * (length.per_epoch if length.by_epochs else 1), 1.0)


def _nothing_averaged(start: float, every: float | None, interval: float, length: Length) -> str:
    begins = swa_start(start, length.total)
    given = f"{every:g}" if every is not None else "null, once an epoch,"
    return (
        f"average.every = {given} is {interval:,.6g} steps, and average.start = {start:g} leaves "
        f"{length.total - begins:,} (from step {begins:,} to {length.total:,}), so nothing would be averaged. Start "
        f"earlier, give a shorter average.every, {LONGER}."
    )
