"""A run that a program of the user's trains by hand: its loops, what it registers, what it measures.

At the start of every pass of a loop the run may be saved, and may stop: a place that the course of the program finds
again, with the state of all that was registered. torch's generators are seeded there from the place; those of NumPy
and Python are seeded at the start of an epoch and saved with the state. So a program that was killed goes on with the
same bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from shoal import rng
from shoal.assembly.averages import Averages
from shoal.assembly.course import Course, Frame
from shoal.assembly.measured import measured
from shoal.assembly.recorder import RunRecorder
from shoal.assembly.registered import Registered
from shoal.assembly.screen import Screen
from shoal.assembly.sources import source_of
from shoal.checkpoints import newest
from shoal.datasets import START, Position, closed
from shoal.errors import InputError, StoreError
from shoal.store import RunFolder, latest, read_journal, record
from shoal.training import Pulse, Row
from shoal.training.agenda import Every
from shoal.training.interruption import attentive
from shoal.training.pulse import Interrupted


class OpenRun:
    """One run, open for the program that trains it; what `shoal.open_run` gives to its block.

    A run that is finished is open for reading: what is registered has the state of its end, loops make no pass, and
    nothing is written.
    """

    def __init__(self, location: RunFolder, config: Mapping[str, Any], seed: int, screen: Screen) -> None:
        self.location, self.config, self.seed = location, dict(config), seed
        self.finished = True
        """Whether there is nothing left to do."""
        self.final: dict[str, float] = {}
        self.course, self.registered = Course(), Registered()
        self._averages, self._screen = Averages(), screen
        self._pulse, self._recorder, self._every = Pulse(), cast("RunRecorder | None", None), Every(None)
        self._seeds = rng.StepSeeds(seed)
        self._there: Mapping[str, Any] = {}
        """What was saved, until the place is reached."""
        self._asked = self._begun = False
        self._saved = -1
        self._told: tuple[int | None, int | None] | None = None
        self._epoch: float | None = None

    # What it is

    @property
    def folder(self) -> Path:
        """Where the run is; files of your own may lie there too."""
        return self.location.path

    @property
    def label(self) -> str:
        """What commands call it: `<name>-<signature>/seed-<n>`."""
        return self.location.label

    @cached_property
    def signature(self) -> str:
        """The 32 hex digits that identify the experiment."""
        return str(record.read(self.location)["signature"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows that were logged: step, epoch, metrics."""
        return read_journal(self.location.history)[0]

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics of a run that is finished, else the latest in its history."""
        if self.finished:
            return dict(record.result(self.location)["metrics"])
        return {name: value for name, value in latest(self.location.history).items() if "." in name}

    @property
    def step(self) -> int:
        """The step that is being made, from 1; between loops, how many were made."""
        frames = self.course.frames
        return self.course.steps + bool(frames and (frames[-1].leaf or not frames[-1].holds))

    @property
    def epoch(self) -> float | None:
        """The epochs that are made with the present step; None where the program counts none."""
        return self._epoch

    # What is kept

    def register(self, **things: Any) -> None:
        """Name what the training changes: it is saved with the run, and restored at once where the run goes on.

        Modules, optimizers, schedulers, scalers and whatever else has state_dict and load_state_dict; generators of
        torch, NumPy and Python; tensors, arrays, lists, dicts and deques, which are filled in place.

        Raises InputError for what has no state, and for a state that does not fit.
        """
        for name, thing in things.items():
            self.registered.add(name, thing, restored=self.finished or not self.course.reached)

    def log(self, values: Mapping[str, Any] | None = None) -> None:
        """Write a row of history: the averages since the row before, and `values`, numbers or tensors of one number.

        Metrics are called `split.metric`, as in valid.accuracy; a bare name is one of train.
        """
        found = measured(values or {})
        if self._writes():
            assert self._recorder is not None
            metrics = self._averages.drained() | found
            with self._uncut():
                self._recorder.rows([Row(0, self.step, self._epoch, metrics)])

    def average(self, values: Mapping[str, Any], *, weight: float = 1.0) -> None:
        """Add to the averages of the next row; `weight` is the number of examples that values are means of."""
        if self._writes():
            self._averages.add(measured(values, lazily=True), weight=weight)

    def result(self, metrics: Mapping[str, Any]) -> None:
        """Say what came out: final metrics, which tables and `shoal ls` show beside those of the last row."""
        self.final |= measured(metrics)

    def say(self, text: str) -> None:
        """Show a sentence, and keep it in train.log."""
        self._screen.say(text)

    def save(self) -> None:
        """Ask for a checkpoint at the start of the next pass; without that they are made by the clock."""
        self._asked = True

    def key(self, purpose: str, *address: int) -> int:
        """Return a seed of 63 bits that is a function of the run's seed and an address: `run.key("episode", step)`."""
        return rng.key(self.seed, purpose, *address)

    # Its loops

    def epochs(self, number: int) -> Iterator[int]:
        """Go through epochs, from 0, or from the one in which the run was saved; other loops may stand in them."""
        return self._passes(_whole("epochs", number), itertools.count, leaf=False)

    def steps(self, number: int | None = None) -> Iterator[int]:
        """Go through steps, from 0, or from the one at which the run was saved; without a number until you break."""
        if number is not None:
            _whole("steps", number)
        return self._passes(number, itertools.count, leaf=True)

    def batches(
        self,
        *data: Any,
        batch_size: int | None = None,
        epochs: int | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> Iterator[Any]:
        """Go through batches, in an order that is a function of seed and epoch, from where the run was saved.

        data: arrays or tensors [N, ...] of one length, which give a tensor, or a tuple of them, a batch, as they are; a
        map-style Dataset of (input, target), read by `workers`; or batches of `shoal.datasets`. Within `run.epochs` it
        is the batches of that epoch, elsewhere those of all `epochs`.

        Raises InputError for data without positions, such as a DataLoader.
        """
        source = source_of(
            data,
            batch_size=batch_size,
            seed=self.seed,
            shuffle=shuffle,
            drop_last=drop_last,
            device=device,
            workers=workers,
        )
        per_epoch: int = source.per_epoch

        def items(first: int) -> Iterator[Any]:
            epoch, batch = divmod(first, per_epoch)
            return source.start(Position(self._outer + epoch, batch, self.course.steps))

        def loop() -> Iterator[Any]:
            inner = bool(self.course.frames)
            if inner == (epochs is not None):
                where = "is said by run.epochs around it" if inner else "is missing: batches(..., epochs=5)"
                raise InputError(f"batches: the number of epochs {where}.")
            yield from self._passes(per_epoch * (epochs or 1), items, leaf=True, size=per_epoch)

        return loop()

    # How it goes on

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "registered": self.registered.states() if self._begun else None,
            "place": self.course.plain(),
            "averages": self._averages.state_dict(),
            "random": rng.captured(),
            "epoch": self._epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a checkpoint's state: things get theirs as they are registered, the rest once the place is reached."""
        self.registered = Registered(state["registered"])
        if state["registered"] is None:
            return
        self.course = Course(state["place"])
        self._averages.load_state_dict(state["averages"])
        self._there = state
        self._epoch = state["epoch"] if self.course.over else None
        self._begun, self._saved = True, self.course.steps

    @contextmanager
    def written(self, recorder: RunRecorder, pulse: Pulse, every: Every) -> Generator[None]:
        """Let the run be trained within the block; raises Interrupted where it is asked to stop."""
        self._recorder, self._pulse, self._every = recorder, pulse, every
        self.finished, pulse.waiting = False, True
        rng.seed_all(rng.key(self.seed, "program"))
        try:
            yield
        finally:
            pulse.waiting = False
            self._recorder = None

    def read(self, state: Mapping[str, Any] | None) -> None:
        """Take the state of the end of a run that is finished."""
        rng.seed_all(rng.key(self.seed, "program"))
        if state is not None:
            self.load_state_dict(state)
        self.course.over = True

    def end(self, recorder: RunRecorder) -> None:
        """Save the state in which the program has ended; raises InputError where it did not come as far as before."""
        self.course.end()
        self._begun = True
        recorder.save(self, self._at, [])
        recorder.settle()

    @property
    def _outer(self) -> int:
        """The epoch of the loop around the innermost one."""
        return self.course.frames[-2].done if len(self.course.frames) > 1 else 0

    def _writes(self) -> bool:
        """Whether what is measured now is new: not before the place of the checkpoint, nor in a finished run."""
        return self._recorder is not None and self.course.reached

    def _passes(
        self, total: int | None, items: Callable[[int], Iterator[Any]], *, leaf: bool, size: int = 0
    ) -> Iterator[Any]:
        """The passes of one loop that are still to be made; `items` gives what they are about, from a pass on."""
        frame = self.course.begin(leaf=leaf, size=size, total=total)
        if frame is None:
            if self.course.over:
                self.registered.again()
            rng.seed_all(rng.key(self.seed, "end", *self.course.behind))
            return
        self._pulse.waiting = False
        try:
            with closed(items(frame.done)) as source, closed(attentive(source, self._pulse)) as stream:
                while total is None or frame.done < total:
                    self._point()
                    item = self._next(stream)
                    self._count(frame)
                    self._seed(frame)
                    yield item
                    self.course.passed(frame)
            self._end()
        except GeneratorExit:  # the program left its loop by `break`
            self.course.passed(frame)
            raise
        finally:
            self.course.leave(frame)
            if self._recorder is not None:
                rng.seed_all(rng.key(self.seed, "end", *self.course.behind))

    def _next(self, stream: Iterator[Any]) -> Any:
        try:
            return next(stream)
        except Interrupted:
            self._save()
            raise

    def _point(self) -> None:
        """A place where the run may be saved: begin it there, find it again there, or look at clock and signals."""
        recorder = self._recorder
        assert recorder is not None
        if not self._begun:
            self._begun = True
            recorder.first_save(self)
            self._saved = 0
        elif not self.course.reached:
            if self.course.arrives():
                self.registered.arrived()
                rng.restore(self._there["random"])
                self._epoch = self._there["epoch"]
                self._pulse.rest()
            return
        steps = self.course.steps
        wanted = self._asked or self._pulse.asked is not None
        wanted = wanted or (self._every.due(steps) and self._saved != steps)
        if self._pulse.due():
            wanted = recorder.tick(self._at) or wanted
            self._pulse.rest()
        if wanted:
            self._save()
        if self._pulse.asked is not None:
            raise Interrupted(self._pulse.asked)

    def _end(self) -> None:
        """The end of a loop: a place like the start of a pass, and saved where no other loop is around it."""
        self._point()
        outermost = len(self.course.frames) == 1
        if outermost and self._saved != self.course.steps:
            self._save()
        self._pulse.waiting = outermost

    def _save(self) -> None:
        """Save, as a state that is not the last word on its step: what follows a loop may change it."""
        assert self._recorder is not None
        self._asked, self._saved = False, self.course.steps
        self._recorder.save(self, self._at, [], due=True)

    @property
    def _at(self) -> Position:
        return START._replace(step=self.course.steps)

    def _count(self, frame: Frame) -> None:
        """Note how many epochs are made once the pass that begins is."""
        if frame.leaf:
            self._tell(frame)
        if frame.size:
            self._epoch = self._outer + (frame.done + 1) / frame.size
        elif not frame.leaf:
            self._epoch = float(frame.done + (not frame.holds))

    def _tell(self, frame: Frame) -> None:
        """Record how far the loops go, where that is news."""
        told = (self.course.total, frame.size or None)
        if told != self._told:
            self._told, self._screen.total = told, told[0] or 0
            record.update(self.location, total_steps=told[0], steps_per_epoch=told[1])

    def _seed(self, frame: Frame) -> None:
        if not frame.leaf:
            rng.seed_all(rng.key(self.seed, "pass", *self.course.address))
            return
        seed = self._seeds.at(self.course.steps)
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(seed)

    @contextmanager
    def _uncut(self) -> Generator[None]:
        """Let no signal come between the writes of the block."""
        waiting, self._pulse.waiting = self._pulse.waiting, False
        try:
            yield
        finally:
            self._pulse.waiting = waiting
        if waiting and self._pulse.asked is not None:
            raise Interrupted(self._pulse.asked)


def states_of(folder: RunFolder) -> dict[str, Any]:
    """Return the states that a program registered, by name, from the newest checkpoint that can be trusted.

    Raises StoreError where there are none.
    """
    loaded = newest(folder.checkpoints)
    registered = loaded.states["engine"].get("registered") if loaded is not None else None
    if registered is None:
        raise StoreError(f"{folder.label} has no states of a program: they are saved where open_run's loops begin.")
    return registered


def _whole(what: str, number: Any) -> int:
    if type(number) is not int or number < 1:
        raise InputError(f"{what}({number!r}): expected a whole number from 1.")
    return number
