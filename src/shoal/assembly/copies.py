"""Copies of a run's history for programs that draw it: rows as they come, and whole again whenever training goes on.

The run's own folder is what counts: a copy that cannot be written is said and given up, and the training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shoal.assembly.wandb_run import WandbRun, check_wandb
from shoal.recipe.schema import Log
from shoal.store import RunFolder

if TYPE_CHECKING:
    from shoal.assembly.event_file import EventFile


def check_copies(log: Log) -> None:
    """Raise InputError where a copy is asked for that cannot be made, before anything is done."""
    if log.wandb:
        check_wandb()


class Copies:
    """The copies of one run's history that `log` asks for; `values` are its hyperparameters, under dotted keys."""

    def __init__(self, folder: RunFolder, log: Log, values: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self.folder, self.log, self.values, self.say = folder, log, values, say
        self.events: EventFile | None = None
        self.wandb: WandbRun | None = None

    def begin(self) -> None:
        """Write all of the history as it stands, in place of what was copied before."""
        if self.log.tensorboard:
            self.to_board(self._rewrite_events)
        if self.log.wandb:
            self.wandb = self.wandb or WandbRun(self.folder, self.log.wandb_project, self.say)
            self.wandb.begin()

    def row(self, line: Mapping[str, Any], time: float) -> None:
        """Copy a row that was written at a time (in seconds since 1970)."""
        if self.events is not None:
            self.to_board(lambda: self._to_events(line, time))
        if self.wandb is not None:
            self.wandb.row(line)

    def to_board(self, write: Callable[[], None]) -> None:
        """Write to the event file; where the disk refuses it, say so and train on without one."""
        try:
            write()
        except OSError as error:
            events, self.events = self.events, None
            if events is not None:
                with suppress(OSError):  # what could not be written before cannot be now
                    events.close()
            self.say(
                f"no more is written for TensorBoard: {error.strerror} in {self.folder.tensorboard}. The run itself "
                f"goes on; 'shoal export {self.folder.path} --tensorboard DIR' writes all of it elsewhere."
            )

    def end(self) -> None:
        """Write the result of a program's run, once it is in its record."""
        if self.events is not None:
            self.to_board(self._conclude)

    def close(self) -> None:
        """Close what is open."""
        if self.events is not None:
            self.to_board(self.events.close)
        if self.wandb is not None:
            self.wandb.close()

    def _rewrite_events(self) -> None:
        from shoal.assembly.event_file import rewrite  # noqa: PLC0415 imports tensorboard, which takes 0.3 s

        self.events = rewrite(self.folder.tensorboard, self.folder, self.values)

    def _to_events(self, line: Mapping[str, Any], time: float) -> None:
        assert self.events is not None
        self.events.row(line, time)
        self.events.flush()

    def _conclude(self) -> None:
        from shoal.assembly.event_file import conclude  # noqa: PLC0415 imports tensorboard, which takes 0.3 s

        assert self.events is not None
        conclude(self.events, self.folder)
