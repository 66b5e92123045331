"""What training writes into one run's folder: rows, times, checkpoints.

Rows go to `history.jsonl`, wall-clock times to `timing.jsonl`, so that histories can be compared byte for byte. A
checkpoint records how long both were; resuming cuts them back to that, so no row is lost or written twice, and keeps
what there is of one that was changed since. Whatever has a state that can be saved may be recorded: an engine, or what
a program of the user's has registered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from shoal.assembly.copies import Copies
from shoal.assembly.decisions import DECISIONS, POINT, Decision, follows
from shoal.assembly.left_out import LeftOut
from shoal.assembly.screen import Screen
from shoal.checkpoints import Loaded, Writer, drop, newest, set_aside, size_of, sweep
from shoal.datasets import START, Origin, Position
from shoal.errors import CheckpointError, TrainingError
from shoal.files import sync_folder, why, writable_folder
from shoal.recipe.schema import Checkpoint
from shoal.store import Journal, RunFolder, last_row, record
from shoal.store.lock import held_here
from shoal.store.marks import Mark
from shoal.training import Callback, Row
from shoal.training.agenda import Every
from shoal.training.seams import Skips

NEVER = Every(None)
SAVE_SECONDS = 3.0
SAVE_SHARE = 0.01
"""Without `checkpoint.every`, saving takes at most this share of the time, and happens at most every SAVE_SECONDS."""
ROOM = 3
"""Checkpoints for which there has to be room on the disk: two that are kept, and the one that is being written."""


class Saved(Protocol):
    """What a checkpoint holds beside the callbacks."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state, as tensors and plain values."""
        ...

    def load_state_dict(self, state: Any) -> None:
        """Take a state back."""
        ...


@contextmanager
def writing(folder: RunFolder) -> Generator[None]:
    """Raise TrainingError, with the reason and what to do, where a file of a run cannot be written in the block."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"cannot write to the folder of the run, {str(folder.path)!r}: {why(error, folder.path)} The last "
            "checkpoint is untouched, and the same command continues from it."
        ) from error


class RunRecorder:
    """The recorder of one run; only for the process that holds the run's lock."""

    def __init__(
        self,
        folder: RunFolder,
        saving: Checkpoint,
        screen: Screen,
        *,
        copies: Copies,
        batch_size: int | None = None,
        free: bool = False,
        points: Every = NEVER,
        left_out: LeftOut | None = None,
    ) -> None:
        self.folder, self.screen, self.copies = folder, screen, copies
        self.by_clock = saving.every is None
        self.points = points
        self.left_out = left_out or LeftOut()
        self.decisions: Sequence[Decision] = ()
        self.writer = Writer(folder.checkpoints, saving.keep, also=POINT if points.interval is not None else None)
        self.batch_size, self.free = batch_size, free
        self.history, self.timing = Journal(folder.history), Journal(folder.timing)
        self.last: Mapping[str, Any] = {}
        self.began = self.saved = time.monotonic()
        self.startup = 0.0
        self.before = 0.0
        self.mark = (0, self.began)
        self.lost = False

    def resume(
        self, engine: Saved, callbacks: Sequence[Callback], decisions: Sequence[Decision] = ()
    ) -> tuple[Position, Loaded | None]:
        """Put everything back to the newest checkpoint that can be trusted; return where training continues.

        Checkpoints of a course that a decision left are dropped.

        Raises CheckpointError when there are checkpoints and none can be trusted.
        """
        self.folder.checkpoints.mkdir(exist_ok=True)
        sync_folder(self.folder.path)  # the journals and that folder are there, whatever happens to the power
        self.writer.wait()
        sweep(self.folder.checkpoints)
        self.decisions = decisions
        drop(self.folder.checkpoints, lambda manifest: not follows(manifest, decisions))
        loaded = newest(self.folder.checkpoints)
        at = START
        if loaded is None:
            if self.history.size():
                raise CheckpointError(
                    f"{self.folder.checkpoints} has no checkpoint, although {self.folder.history.name} has rows: what "
                    "was trained has been removed. Put the folder back, or add --again to train from the start, which "
                    "sets this run aside."
                )
            self.timing.cut(Mark(0, 0, 0))
        else:
            for damaged, reason in loaded.passed_over.items():
                set_aside(damaged)
                self.screen.say(f"a damaged checkpoint was set aside: {reason}")
            with loaded.understood():
                at = self._restore(loaded, engine, callbacks)
        self.last = last_row(self.folder.history) or {}
        self.copies.begin()
        self.mark = (at.step, time.monotonic())
        return at, loaded

    def _restore(self, loaded: Loaded, engine: Saved, callbacks: Sequence[Callback]) -> Position:
        engine.load_state_dict(loaded.states["engine"])
        for callback in callbacks:
            callback.load_state_dict(loaded.states["callbacks"][callback.name])
        self._cut(loaded)
        self.before = float(loaded.meta["seconds"])
        return Position(*loaded.meta["position"])

    def _cut(self, loaded: Loaded) -> None:
        """Cut the journals back to where they were; of one that was changed since, keep what there is, and say so."""
        marks = {self.history: Mark.of(loaded.meta, "history"), self.timing: Mark.of(loaded.meta, "timing")}
        changed = [found for journal, mark in marks.items() if (found := journal.cut(mark)) is not None]
        before = record.journals(record.known(self.folder))
        told = {(known["file"], known["step"]): known for known in before}  # of what was interrupted, the first telling
        new = {(found.file, found.mark.step): found.plain() for found in changed}
        if new.keys() - told.keys():
            record.update(self.folder, journals=list((new | told).values()))
        for found in changed:
            self.screen.say(found.said)

    @property
    def seconds(self) -> float:
        """Time spent training this run, over all attempts whose work was kept."""
        return self.before + time.monotonic() - self.began

    def begin(self, began: float) -> None:
        """Say that the first step comes now; the time since `began`, without what was saved, was start-up."""
        self.startup = time.monotonic() - began - self.writer.stall

    def times(self, began: float, *, evaluation: float) -> dict[str, float]:
        """Return where the seconds of this attempt went; `training` is what start-up, evaluation and saving leave."""
        told = {"startup": self.startup, "evaluation": evaluation, "saving": self.writer.stall}
        rest = max(0.0, time.monotonic() - began - sum(told.values()))
        return {name: round(seconds, 6) for name, seconds in {**told, "training": rest}.items()}

    def rows(self, rows: Sequence[Row]) -> None:
        """Append a row of history and its time, and show it."""
        for row in rows:
            line = {"step": row.step, **({} if row.epoch is None else {"epoch": row.epoch}), **row.metrics}
            timed = self._timed(row.step)
            with writing(self.folder):
                self.history.append(line)
                self.timing.append(timed)
            self.last = line
            self.screen.row(line)
            self.copies.row(line, timed["time"])
            self._tell_of_loss(line)
        news = self.left_out.news()
        if news:
            record.update(self.folder, left_out=self.left_out.plain())
        for sentence in news:
            self.screen.say(sentence)

    def _tell_of_loss(self, line: Mapping[str, Any]) -> None:
        """Say once that a loss that was measured is no number: only those of training end a run."""
        lost = [name for name in line if name.endswith(".loss") and not math.isfinite(line[name])]
        if lost and not self.lost:
            self.lost = True
            self.screen.say(
                f"{lost[0]} is {line[lost[0]]} at step {line['step']:,}: what the model makes of some examples is "
                "no number. Usually the weights have become too large (lower optimizer.lr); otherwise "
                "look at the examples of that split, and for a logarithm, square root or division in model and loss."
            )

    def skipped(self, run: int, skips: Skips, origin: Origin | None) -> None:
        """Record which updates were left out, and say so."""
        batch = origin.plain() if origin is not None else {}
        record.update(self.folder, skipped_steps={"count": skips.updates, "last": {"step": skips.last, **batch}})
        where = f", on {origin.recorded('skipped_steps')}" if origin is not None else ""
        several = "s" * (skips.updates != 1)
        self.screen.say(
            f"{skips.updates:,} update{several} left out so far (guard.action=skip), the last at step {skips.last:,}"
            f"{where}. Look at those examples; where there are more and more, lower optimizer.lr."
        )

    def save(self, engine: Saved, at: Position, callbacks: Sequence[Callback], *, due: bool = False) -> None:
        """Have a checkpoint of this position written, while training goes on.

        Raises TrainingError where the run's folder is not there any more, or is another's.
        """
        if not held_here(self.folder):
            raise TrainingError(
                f"{str(self.folder.path)!r} was removed, renamed or replaced while the run was trained, and nothing "
                "more can be saved there. Put it back and start again to go on from its last checkpoint, or start "
                "without it to begin anew."
            )
        with writing(self.folder):
            again = [journal.path.name for journal in (self.history, self.timing) if journal.restored()]
            again += [self.folder.record.name] if record.restored(self.folder) else []
        for name in again:
            self.screen.say(f"{name} was removed or changed while the run was trained, and has been written again")
        states = {
            "engine": engine.state_dict(),
            "callbacks": {callback.name: callback.state_dict() for callback in callbacks},
        }
        meta = {
            "position": list(at),
            **({"due": True} if due else {}),
            **({"free": True} if self.free else {}),
            **({DECISIONS: len(self.decisions)} if self.decisions else {}),
            **({POINT: True} if at.step == 0 or self.points.due(at.step) else {}),
            "history_bytes": self.history.size(),
            "history_rows": self.history.rows(),
            "timing_bytes": self.timing.size(),
            "timing_rows": self.timing.rows(),
            "seconds": self.seconds,
        }
        with writing(self.folder):
            self.writer.save(at.step, states, meta, first=self._flushed)
        self.saved = time.monotonic()

    def first_save(self, engine: Saved, callbacks: Sequence[Callback] = ()) -> None:
        """Save before the first step: a full disk, or state that cannot be saved, is found now and not in an hour."""
        writable_folder(self.folder.path, needed_bytes=max(1_000_000, ROOM * size_of(engine.state_dict())))
        self.save(engine, START, callbacks)
        self.settle()

    def settle(self) -> None:
        """Wait until the last checkpoint is on the disk; raises CheckpointError where it cannot be."""
        with writing(self.folder):
            self.writer.wait()

    def tick(self, at: Position) -> bool:
        """Show progress; return whether a checkpoint is due by the clock."""
        self.screen.progress(at.step)
        with writing(self.folder):
            self.writer.check()
        wait = max(SAVE_SECONDS, self.writer.seconds / SAVE_SHARE)
        return self.by_clock and time.monotonic() - self.saved >= wait

    def close(self) -> None:
        """Close the journals and the copies, once nothing is being written."""
        with suppress(CheckpointError, OSError):  # `settle` has raised it, or something worse was raised before
            self.writer.wait()
        self.history.close()
        self.timing.close()
        self.copies.close()

    def _flushed(self) -> None:
        """Have every row on the disk before a checkpoint that states how long the journals are."""
        self.history.sync()
        self.timing.sync()

    def _timed(self, step: int) -> dict[str, float]:
        now = time.monotonic()
        steps, seconds = step - self.mark[0], max(now - self.mark[1], 1e-9)
        self.mark = (step, now)
        timed = {"step": step, "seconds": round(self.seconds, 6), "time": round(time.time(), 3)}
        if steps:  # a test at the end has no steps of its own
            rate = steps / seconds
            timed["steps_per_second"] = round(rate, 3)
            if self.batch_size is not None:
                timed["examples_per_second"] = round(rate * self.batch_size, 1)
        return timed
