"""The loop, the same for one run and for a stack.

    for each stretch of steps up to the next one at which anything is due:
        step, step, step ...                      (nothing here waits for the device)
    drain what the steps added up to; evaluate; tell the callbacks; write rows; save; stop if asked

Everything that decides *when* is in the agenda, everything that is *computed* is in the engine, everything that is
*kept* goes through the recorder: `fit` itself has no state that a checkpoint would have to hold beside its position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from shoal.datasets import START, Batches, Origin, Position, closed
from shoal.errors import NonFiniteError
from shoal.training.agenda import Agenda
from shoal.training.evaluation import as_row
from shoal.training.interruption import Watched, attentive
from shoal.training.pulse import Interrupted, Pulse
from shoal.training.seams import AVERAGED, Callback, Engine, Evaluation, Hypers, Recorder, Row

BLOCK = 1000
"""Steps whose hyperparameters are computed and uploaded at once."""
REMEDY = (
    "Usually the learning rate is too large: try optimizer.lr at a third, or schedules.lr.warmup_steps=100. Otherwise "
    "look for a logarithm, square root or division at zero in the model or loss."
)

SKIPPED = "train.skipped"
"""The share of examples whose updates were left out; it is in the rows that have some."""

LEAST_SCALE = 1e-3
"""A loss scale of fp16 below this has halved 26 times in a row: no scale makes such a gradient finite."""


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
    at: Position = START,
    due: bool = False,
) -> Ending:
    """Train from `at` to the end of the budget, an early stop or an interruption; save at each of them.

    Where the run is asked to stop while it is evaluated, the evaluation is left and the checkpoint says that it is
    still to be done: a training that continues from there is given `due`, and begins with it.

    Raises NonFiniteError when a loss was not finite; the weights are then those from before that update, and nothing
    was saved since.
    """
    saved = None if due else at  # what was saved before its evaluation is not all there is to save of a step
    with closed(batches.start(at)) as stream:
        work = zip(_uploaded(engine, hypers, at.step, agenda.total), attentive(stream, pulse), strict=True)
        while due or (at.step < agenda.total and _reason_to_stop(callbacks) is None):
            # 1. steps, until something is due
            done = 0
            with suppress(Interrupted):  # raised while a batch was waited for
                for hyper, batch in islice(work, 0 if due else agenda.following(at.step) - at.step):
                    engine.step(batch, hyper)
                    done += 1
                    if pulse.due():
                        break
            if not (done or due):
                break
            at, due = _advanced(at, done, batches.per_epoch), False

            # 2. a step that was bad ends the run here, before anything of it is kept
            _refuse_bad_steps(engine, batches)

            # 3. how good the weights are, and what the steps added up to
            if agenda.evaluates(at.step) or agenda.log.due(at.step):
                found: dict[str, list[dict[str, float]]] = {}
                if evaluation is not None and agenda.evaluates(at.step):
                    try:
                        found = _evaluated(engine, evaluation, pulse)
                    except Interrupted:
                        _refuse_bad_weights(engine, at)
                        recorder.save(engine, at, callbacks, due=True)
                        return _interrupted(pulse, at)
                rows = _rows(engine.drain(), at, agenda.per_epoch, hypers)
                for split, results in found.items():
                    rows = _with(rows, split, results)
                if found:
                    for callback in callbacks:
                        callback.evaluated(engine, rows)
                recorder.rows(rows)
                _tell_of_skips(engine, rows, batches, recorder)

            # 4. the clock, the checkpoint, the signals
            save = agenda.save.due(at.step) or agenda.point.due(at.step) or pulse.asked is not None
            if pulse.due():
                save = recorder.tick(at) or save
                pulse.rest()
            if save:
                _refuse_bad_weights(engine, at)
                recorder.save(engine, at, callbacks)
                saved = at
            if pulse.asked is not None and saved == at:
                return _interrupted(pulse, at)

    if saved != at:
        _refuse_bad_weights(engine, at)
        recorder.save(engine, at, callbacks)
    if pulse.asked is not None:
        return _interrupted(pulse, at)
    early = _reason_to_stop(callbacks)
    return Ending(at, "early stop", early) if early else Ending(at, "budget", "the budget is spent")


def _evaluated(engine: Engine, evaluation: Evaluation, pulse: Pulse) -> dict[str, list[dict[str, float]]]:
    """Return the metrics of the present weights, and of averaged ones, by split; raises Interrupted."""
    batches = Watched(evaluation.batches, pulse)
    found = {evaluation.split: engine.evaluate(batches)}
    if engine.has_average():
        found[f"{evaluation.split}{AVERAGED}"] = engine.evaluate(batches, weights="average")
    return found


def _interrupted(pulse: Pulse, at: Position) -> Ending:
    return Ending(at, "interrupted", f"stopped by {pulse.asked} at step {at.step:,}")


def _uploaded(engine: Engine, hypers: Hypers, first: int, total: int) -> Iterator[Any]:
    """Yield what `engine.step` takes as hyperparameters, step by step, computed and uploaded by blocks.

    A controller may change them at an evaluation: what is left of a block is then computed anew.
    """
    step = first
    while step < total:
        version = hypers.version
        for item in engine.upload(hypers.block(step, min(step + BLOCK, total))):
            yield item
            step += 1
            if hypers.version != version:
                break


def _reason_to_stop(callbacks: Sequence[Callback]) -> str | None:
    return next((reason for callback in callbacks if (reason := callback.stop())), None)


def _advanced(at: Position, steps: int, per_epoch: int) -> Position:
    """Return the position of the next batch after `steps` more."""
    epochs, batch = divmod(at.batch + steps, per_epoch)
    return Position(at.epoch + epochs, batch, at.step + steps)


def _refuse_bad_steps(engine: Engine, batches: Batches) -> None:
    """Raise NonFiniteError where training of any run is to stop for a step that was bad."""
    for run, bad in enumerate(engine.bad_steps()):
        if bad is not None:
            cause = "" if engine.finite()[run] else " The update before it had made weights NaN or infinite."
            origin, skips = _origin(batches, bad.step), engine.skips()[run]
            if skips is not None:
                cause += (
                    f" {skips.updates:,} updates were left out until that was seen: more in a row than guard.limit."
                )
            where = f" It was on {origin.recorded('bad_step')}." if origin is not None else ""
            raise NonFiniteError(
                f"{bad.said}; its update was not made.{where}{cause} {REMEDY}",
                step=bad.step,
                cause=bad.said,
                batch=origin.plain() if origin is not None else None,
            )


def _tell_of_skips(engine: Engine, rows: Sequence[Row], batches: Batches, recorder: Recorder) -> None:
    """Tell of updates that were left out since the rows before."""
    if not any(SKIPPED in row.metrics for row in rows):
        return
    for run, skips in enumerate(engine.skips()):
        if skips is not None and SKIPPED in rows[run].metrics:
            recorder.skipped(run, skips, _origin(batches, skips.last))


def _origin(batches: Batches, step: int) -> Origin | None:
    """Return what the batch of a step, counted from 1, was made of: found afterwards, at no cost in a step."""
    epoch, batch = divmod(step - 1, batches.per_epoch)
    return batches.origin(Position(epoch, batch, step - 1))


def _refuse_bad_weights(engine: Engine, at: Position) -> None:
    """Raise NonFiniteError rather than save weights that are not finite: a finite loss may have such a gradient.

    Under fp16 its update is skipped, and the loss scale halves each time: weights that would stay as they are for ever
    are not saved either.
    """
    if not all(engine.finite()):
        raise NonFiniteError(
            f"weights became NaN or infinite by step {at.step:,}, although the losses were finite: an update was too "
            f"large, or its gradient not finite. The checkpoint before is kept. {REMEDY}"
        )
    for scale in engine.loss_scales():
        if scale is not None and scale < LEAST_SCALE:
            raise NonFiniteError(
                f"the loss scale of fp16 fell to {scale:.3g} by step {at.step:,}: gradients are NaN or infinite at any "
                "scale, although the losses are finite, and their updates are skipped. The checkpoint before is kept. "
                f"{REMEDY}"
            )


def _rows(means: Sequence[Mapping[str, float]], at: Position, per_epoch: int, hypers: Hypers) -> list[Row]:
    """One row a run: where it is, its hyperparameters at the last step, its train metrics since the last row."""
    epoch, last = at.step / per_epoch, hypers.block(at.step - 1, at.step)[0].tolist()
    return [
        Row(run, at.step, epoch, {**dict(zip(hypers.recorded, values, strict=False)), **as_row("train", mean)})
        for run, (mean, values) in enumerate(zip(means, last, strict=True))
    ]


def _with(rows: Sequence[Row], split: str, results: Sequence[Mapping[str, float]]) -> list[Row]:
    """Return the rows with the metrics of an evaluation added, run by run."""
    return [
        row._replace(metrics={**row.metrics, **as_row(split, result)})
        for row, result in zip(rows, results, strict=True)
    ]
