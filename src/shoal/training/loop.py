"""The loop, the same for one run and for a stack.

    for each stretch of steps up to the next one at which anything is due:
        step, step, step ...                      (nothing here waits for the device)
    drain what the steps added up to; evaluate; tell the callbacks; write rows; save; stop if asked

Everything that decides *when* is in the agenda, everything that is *computed* is in the engine, everything that is
*kept* goes through the recorder: `fit` itself has no state that a checkpoint would have to hold beside its position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from shoal.datasets import Batches, Position
from shoal.errors import NonFiniteError
from shoal.training.agenda import Agenda
from shoal.training.evaluation import as_row
from shoal.training.pulse import Pulse
from shoal.training.seams import Callback, Engine, Evaluation, Hypers, Recorder, Row

BLOCK = 1000
"""Steps whose hyperparameters are computed and uploaded at once."""


@dataclass(frozen=True)
class Ending:
    """Where training ended, and why."""

    at: Position
    kind: Literal["budget", "early stop", "interrupted"]
    reason: str


def fit(
    engine: Engine,
    batches: Batches,
    *,
    hypers: Hypers,
    agenda: Agenda,
    recorder: Recorder,
    pulse: Pulse,
    evaluation: Evaluation | None = None,
    callbacks: Sequence[Callback] = (),
    at: Position = Position(0, 0, 0),
) -> Ending:
    """Train from `at` to the end of the budget, an early stop or an interruption; save at each of them.

    Raises NonFiniteError when a loss was not finite; the weights are then those from before that update.
    """
    stream = batches.start(at)
    saved = at
    while at.step < agenda.total and not (early := _stop(callbacks)):
        # 1. steps, until something is due
        last = min(agenda.following(at.step), at.step + BLOCK)
        done = 0
        block = hypers.block(at.step, last)
        for hyper, batch in zip(engine.upload(block), islice(stream, last - at.step), strict=True):
            engine.step(batch, hyper)
            done += 1
            if pulse.due():
                break
        at = _advanced(at, done, batches.per_epoch)

        # 2. a loss that was not finite ends the run here, before anything of it is kept
        _refuse_non_finite(engine.bad_steps())

        # 3. what the steps added up to, and how good the weights are
        evaluates = agenda.evaluates(at.step)
        if evaluates or agenda.log.due(at.step):
            rows = _rows(engine.drain(), at, agenda.per_epoch, hypers, block[done - 1])
            if evaluates and evaluation is not None:
                results = engine.evaluate(evaluation.batches)
                rows = [
                    row._replace(metrics={**row.metrics, **as_row(evaluation.split, result)})
                    for row, result in zip(rows, results, strict=True)
                ]
                for callback in callbacks:
                    callback.evaluated(engine, rows)
            recorder.rows(rows)

        # 4. the clock, the checkpoint, the signals
        due_by_clock = recorder.tick(at) if pulse.due() else False
        pulse.rest()
        if pulse.asked or due_by_clock or agenda.save.due(at.step):
            recorder.save(engine, at, callbacks)
            saved = at
        if pulse.asked:
            return Ending(at, "interrupted", f"stopped by {pulse.asked} at step {at.step:,}")

    if saved != at:
        recorder.save(engine, at, callbacks)
    early = _stop(callbacks)
    return Ending(at, "early stop", early) if early else Ending(at, "budget", "the budget is spent")


def _stop(callbacks: Sequence[Callback]) -> str | None:
    return next((reason for callback in callbacks if (reason := callback.stop())), None)


def _advanced(at: Position, steps: int, per_epoch: int) -> Position:
    """Return the position of the next batch after `steps` more."""
    epochs, batch = divmod(at.batch + steps, per_epoch)
    return Position(at.epoch + epochs, batch, at.step + steps)


def _refuse_non_finite(bad_steps: Sequence[int | None]) -> None:
    for step in bad_steps:
        if step is not None:
            raise NonFiniteError(
                f"the loss at step {step:,} is not finite; its update was not made. "
                "Usually the learning rate is too large: try optimizer.lr at a third, or "
                "schedules.lr.warmup_steps=100. Otherwise look for a logarithm or division of zero in the model or loss."
            )


def _rows(
    means: Sequence[Mapping[str, float]],
    at: Position,
    per_epoch: int,
    hypers: Hypers,
    values: Sequence[Sequence[float]],
) -> list[Row]:
    """One row a run: where it is, its hyperparameters at the last step, its train metrics since the last row."""
    epoch = at.step / per_epoch
    return [
        Row(run, at.step, epoch, {**dict(zip(hypers.names, map(float, value), strict=True)), **as_row("train", mean)})
        for run, (mean, value) in enumerate(zip(means, values, strict=True))
    ]
