"""The life of a run that a program trains by hand: found or created by identity, locked, resumed, recorded.

What `conduct` is to a recipe. However the block is left, `run.json` says how: the program went to its end, it was asked
to stop, or it failed and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import torch

from shoal.assembly.attempt import begun, claimed, finished
from shoal.assembly.copies import Copies, check_copies
from shoal.assembly.ending import failed, now, stopped
from shoal.assembly.launch import refuse_repeating
from shoal.assembly.opened import OpenRun
from shoal.assembly.program import Program
from shoal.assembly.recipe_file import put_back, write_recipe
from shoal.assembly.recorder import RunRecorder, writing
from shoal.assembly.screen import Screen
from shoal.assembly.warm import Warm
from shoal.checkpoints import newest
from shoal.datasets import START
from shoal.pages.formats import measure
from shoal.recipe.config import signature
from shoal.recipe.flat import flat
from shoal.recipe.schema import Checkpoint, Log
from shoal.rng import preserved
from shoal.store import RunFolder, RunId, RunLock, record, sweep
from shoal.store.secrets import HIDDEN, KEY
from shoal.training import Pulse
from shoal.training.agenda import Every
from shoal.training.plan import Plan, hardware
from shoal.training.pulse import Interrupted

RESUMABLE = 75
"""The exit code of a run that was asked to stop, and that the same command continues."""


@dataclass(frozen=True)
class Opening:
    """What a person asked for, checked: which run, of which program, and what is written beside it."""

    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    program: Program
    seed: int
    name: str
    runs: Path
    checkpoint: Checkpoint
    log: Log
    again: bool
    screen: Screen

    @property
    def run(self) -> RunId:
        """The run's identity."""
        return RunId(self.name, signature(self.identity), self.seed)


class OpenedRun:
    """The block in which a run is trained: entering finds, locks and restores it, leaving records how it went."""

    def __init__(self, opening: Opening) -> None:
        self.opening, self.screen = opening, opening.screen
        self.pulse, self.stack = Pulse(), ExitStack()
        self.recorder: RunRecorder | None = None
        self.run: OpenRun | None = None
        self.first = 0

    def __enter__(self) -> OpenRun:
        check_copies(self.opening.log)
        with ExitStack() as stack:
            stack.enter_context(preserved())
            known = None if self.opening.again else finished(self.opening.runs, self.opening.run)
            self.run = self._opened(known) if known is not None else self._begun(stack)
            self.stack = stack.pop_all()
        return self.run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.pulse.waiting = False
        except Interrupted as late:  # the last moment at which a signal raises
            error = error or late
        with self.stack:
            if self.recorder is not None:
                self._leave(self.recorder, error)

    def _opened(self, folder: RunFolder) -> OpenRun:
        """Return a run that is finished; what it was trained with is there to be read."""
        put_back(folder, self.screen)
        facts, loaded = record.read(folder), newest(folder.checkpoints)
        self._check_program(facts)
        run = OpenRun(folder, self.opening.config, self.opening.seed, self.screen)
        run.read(loaded.states["engine"] if loaded is not None else None)
        self.screen.say(f"{folder.label} is finished{_told(facts.get('metrics') or {})}; it is not trained again.")
        return run

    def _begun(self, stack: ExitStack) -> OpenRun:
        """Find or make the folder, take its lock, restore what was saved."""
        opening = self.opening
        folder = claimed(opening.runs, opening.run, again=opening.again, say=self.screen.say)
        stack.enter_context(RunLock(folder))
        if record.read(folder).get("status") == "finished":  # since it was looked for
            return self._opened(folder)
        refuse_repeating(folder)
        stack.enter_context(self.pulse.listening())
        sweep(folder)
        self.screen.attach(folder)
        stack.callback(self.screen.close)
        try:
            run = self._restored(folder)
        except BaseException as error:
            failed(folder, self.recorder, self.screen, error)
            raise
        stack.enter_context(run.written(self._own(), self.pulse, Every(opening.checkpoint.every)))
        return run

    def _restored(self, folder: RunFolder) -> OpenRun:
        opening, before = self.opening, record.read(folder)
        self._check_program(before)
        warm = Warm(opening.runs)
        if not before and (said := warm.known.changes_since(opening.identity, opening.seed, path=None)):
            self.screen.say(said)
        plan = _plan()
        for difference in plan.differences(before.get("plan") or {}):
            self.screen.say(f"the plan is another ({difference}): from here on the run is the same to rounding only.")
        name = str(before.get("name", opening.name))
        shown = {"name": name, "seed": opening.seed, **_shown(opening.config)}
        begun(
            folder,
            plan,
            warm,
            name=name,
            signature=opening.run.signature,
            seed=opening.seed,
            identity=opening.identity,
            program=opening.program.plain(),
            recipe=shown,
        )
        write_recipe(folder, shown, self.screen, before=record.recipe(before))
        values = {key: value for key, value in flat(shown).items() if key != "name"}
        copies = Copies(folder, opening.log, values, self.screen.say)
        self.recorder = RunRecorder(folder, opening.checkpoint, self.screen, copies=copies, free=True)
        run = OpenRun(folder, opening.config, opening.seed, self.screen)
        at, loaded = self.recorder.resume(run, [])
        if loaded is None:
            self.recorder.save(run, START, [], due=True)  # from now on rows can be taken back
            self.recorder.settle()
        self.first = at.step
        how = f"resuming at step {at.step:,}:" if at.step else "training"
        self.screen.say(f"{how} {folder.label} in {folder.path}")
        return run

    def _check_program(self, facts: Mapping[str, Any]) -> None:
        recorded: Mapping[str, Any] = facts.get("program") or {}
        self.opening.program.check(recorded)
        if sentence := self.opening.program.change(recorded):
            self.screen.say(sentence)

    def _own(self) -> RunRecorder:
        assert self.recorder is not None
        return self.recorder

    def _leave(self, recorder: RunRecorder, error: BaseException | None) -> None:
        """Record how the block was left; raises SystemExit where the run was asked to stop."""
        assert self.run is not None
        folder, run = self.run.location, self.run
        facts = {"steps": run.course.steps, "seconds": recorder.seconds}
        try:
            if error is None:
                self._finish(recorder, run)
            elif isinstance(error, Interrupted | GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
                recorder.settle()
                by = str(error) if isinstance(error, Interrupted) else None
                reason = f"stopped by {by or 'the program itself'} at step {run.course.steps:,}"
                new = run.course.steps - self.first
                stopped(folder, self.screen, reason, by=by, new_steps=new, **facts)
                if by:
                    raise SystemExit(RESUMABLE) from None
            else:
                failed(folder, recorder, self.screen, error)
        except Exception as second:
            if second is not error:
                failed(folder, recorder, self.screen, second)
            raise
        finally:
            recorder.close()

    def _finish(self, recorder: RunRecorder, run: OpenRun) -> None:
        """Save the end, and record the result."""
        metrics = {**run.metrics, **run.final}
        run.end(recorder)
        with writing(run.location):
            recorder.history.sync()
            record.conclude(
                run.location,
                status="finished",
                reason="the program has ended",
                steps=run.course.steps,
                epochs=run.epoch,
                metrics=metrics,
                seconds=recorder.seconds,
                finished=now(),
            )
        run.finished = True
        recorder.copies.end()
        self.screen.say(f"finished{_told(metrics)}")


def _plan() -> Plan:
    """What results depend on beside the program, as far as Shoal can know it."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    threads, version = torch.get_num_threads(), str(torch.__version__)
    return Plan("program", "eager", device.type, threads, version, hardware=hardware(device))


def _told(metrics: Mapping[str, Any]) -> str:
    """Metrics as what follows a clause; those that are no numbers are null in a record."""
    said = [f"{name} {measure(float('nan') if value is None else value)}" for name, value in metrics.items()]
    return f": {', '.join(said)}" if said else ""


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as it is recorded: a text under a key that is called like a secret is hidden."""
    return _without_secrets(config, lambda _: HIDDEN)


def identifying(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as it is identified, which is recorded too: a digest stands for a secret."""
    return _without_secrets(config, lambda secret: f"{HIDDEN}{hashlib.sha256(secret.encode()).hexdigest()[:16]}")


def _without_secrets(config: Mapping[str, Any], instead: Callable[[str], str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found[key] = _without_secrets(cast(Mapping[str, Any], value), instead)
        else:
            found[key] = instead(value) if isinstance(value, str) and KEY.search(key) else value
    return found
