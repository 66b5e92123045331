"""The queue of a sweep on this machine: which run goes to which worker, and what becomes of it.

A worker that dies takes nothing with it: its run goes back to the front of the queue and continues from its last
checkpoint, until it has died MOST times without a new one. A run that another process trains is waited for. A run that
fails, or that somebody stops, is left as it is. Nothing here writes into a run's folder but how its process ended.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shoal.errors import LiveRunError, ShoalError, StoreError
from shoal.files import size
from shoal.recipe import Recipe
from shoal.store import RunFolder, RunLock, find, is_live, record
from shoal.store.checkpoint_files import candidates, step_of
from shoal.store.sweeps import Point
from shoal.sweeps import machine
from shoal.sweeps.channel import Message
from shoal.sweeps.pool import Place, Pool, Process

MOST = 3
"""Deaths of one run's processes without a new checkpoint in between."""
TICK_SECONDS = 0.25
LOOK_SECONDS = 1.0
"""How often a run that another process trains is looked at."""

DONE = frozenset({"finished", "failed", "stopped"})


Job = tuple[int, ...]
"""What one worker is given at a time: the numbers of one or more runs."""


@dataclass
class Progress:
    """One run of a sweep, and how far it is."""

    point: Point
    recipe: Recipe
    again: bool = False
    status: str = "queued"
    step: int = 0
    total: int = 0
    began: float = 0.0
    """When its training began, on the clock of `time.monotonic`, at step `first`."""
    first: int = 0
    reason: str | None = None
    deaths: int = 0
    checkpoint: int | None = None
    """The newest checkpoint when its process died last."""

    @property
    def rate(self) -> float | None:
        """Steps a second of this attempt; None before there are any."""
        passed = time.monotonic() - self.began
        made = self.step - self.first
        return made / passed if self.status == "running" and made > 0 and passed > 0 else None


@dataclass
class Queue:
    """The runs of a sweep, and the workers that train them."""

    runs: Path
    wanted: Sequence[Progress]
    pool: Pool
    places: Sequence[Place]
    """Where workers may run: one each, at most."""
    say: Callable[[str], None]
    changed: Callable[[Progress], None]
    """Hears of every run whose status changed."""
    stopping: bool = False
    waiting: deque[Job] = field(default_factory=deque[Job])
    working: dict[int, Job] = field(default_factory=dict[int, Job])
    """What is left of the job of each worker, by the process's id; the first of it is being trained."""
    narrow: bool = False

    def __post_init__(self) -> None:
        self.waiting.extend((number,) for number, run in enumerate(self.wanted) if run.status == "queued")
        self._looked = 0.0

    @property
    def open(self) -> bool:
        """Whether there is anything to wait for."""
        if self.stopping:
            return bool(self.working)
        return bool(self.waiting or self.working or any(run.status == "elsewhere" for run in self.wanted))

    def now(self) -> dict[str, dict[str, Any]]:
        """Return, by label, what folders do not say: runs that are trained now and how far, those that cannot be."""
        told = (run for run in self.wanted if run.status in ("running", "elsewhere") or run.reason)
        return {
            run.point.run: {
                "status": run.status,
                "step": run.step,
                "total": run.total or None,
                "rate": None if run.rate is None else round(run.rate, 3),
                "reason": run.reason,
            }
            for run in told
        }

    def work(self, tick: Callable[[], None]) -> None:
        """Have all jobs done; `tick` is called a few times a second. Raises ShoalError where no worker can begin."""
        while self.open:
            if not self.stopping:
                self._give()
                self._look()
            for process, message in self.pool.events(TICK_SECONDS):
                self._hear(process, message)
            tick()

    def stop(self) -> None:
        """Have every run saved and stopped; what waits stays in the queue."""
        self.stopping = True
        for process in self.pool.processes:
            process.stop()

    def kill(self) -> None:
        """End every worker at once; their runs continue from their last checkpoints another time."""
        self.stopping = True
        for process in self.pool.processes:
            process.kill()

    def _give(self) -> None:
        for process in self.pool.processes:
            if self.waiting and process.ready and process.popen.pid not in self.working:
                self._send(process, self.waiting.popleft())
        free = [place for place in self.places if all(place is not each.place for each in self.pool.processes)]
        starting = sum(not process.ready for process in self.pool.processes)
        for place in free[: max(0, len(self.waiting) - starting)]:
            if not self._has_room():
                break
            self.pool.start(place)

    def _send(self, process: Process, job: Job) -> None:
        self.working[process.popen.pid] = job
        self._begin(job[0])
        runs = [(number, self.wanted[number]) for number in job]
        told = [
            {"id": number, "recipe": run.recipe.mapping(), "signature": run.point.signature, "again": run.again}
            for number, run in runs
        ]
        process.channel.send({"job": told})

    def _begin(self, number: int) -> None:
        run = self.wanted[number]
        run.status, run.began, run.first, run.step, run.total = "running", time.monotonic(), 0, 0, 0
        run.reason = None
        self.changed(run)

    def _has_room(self) -> bool:
        room = self.pool.has_room()
        if not room and not self.narrow:
            self.narrow = True
            self.say(
                f"{len(self.pool.processes)} of {len(self.places)} workers for now: one more takes about "
                f"{size(self.pool.needed)} of memory, and {size(machine.free_memory() or 0)} are free."
            )
        return room

    def _hear(self, process: Process, message: Message | None) -> None:
        if message is None:
            self._mourn(process)
        elif "ready" in message:
            process.ready = True
        elif "refused" in message:
            raise ShoalError(str(message.get("traceback") or message["reason"]))
        elif "ended" in message:
            process.proven = True
            self.pool.largest = max(self.pool.largest, int(message.get("memory", 0)))
            self._conclude(process, int(message["id"]), message)
        elif "step" in message:
            run = self.wanted[int(message["id"])]
            if not run.total:
                run.first, run.began = message["step"], time.monotonic()
            run.step, run.total = message["step"], message["total"]
            run.again = False  # what was there has been set aside

    def _conclude(self, process: Process, number: int, message: Message) -> None:
        run = self.wanted[number]
        run.status, run.reason = str(message["ended"]), message.get("reason")
        run.again = False
        run.step = message.get("steps", run.step)
        if run.status == "elsewhere":
            self.say(str(run.reason))
        self.changed(run)
        left = tuple(other for other in self.working.pop(process.popen.pid, ()) if other != number)
        if left:
            self.working[process.popen.pid] = left
            self._begin(left[0])

    def _mourn(self, process: Process) -> None:
        """A worker is gone: what it had goes back into the queue."""
        how = process.ended() if self.stopping else self.pool.mourn(process)
        number, *left = self.working.pop(process.popen.pid, ()) or (None,)
        if number is None:
            return
        if left:
            self.waiting.appendleft(tuple(left))
        run = self.wanted[number]
        folder = self._folder(run)
        newest = None if folder is None else next((step_of(path) for path in candidates(folder.checkpoints)), None)
        if folder is not None and record.status(folder) == "finished" and not run.again:
            run.status = "finished"  # it died between the record and its message
        elif self.stopping:
            run.status = "queued" if folder is None else record.status(folder)
        else:
            run.deaths = run.deaths + 1 if run.deaths and newest == run.checkpoint else 1
            run.checkpoint = newest
            self._requeue(number, how, folder)
        self.changed(run)

    def _requeue(self, number: int, how: str, folder: RunFolder | None) -> None:
        run = self.wanted[number]
        reason = f"its process was ended by {how}"
        if run.deaths >= MOST:
            reason = f"its process was ended {MOST} times ({how}) without a new checkpoint in between: given up"
        if folder is not None and not run.again:  # else it is the run before
            with suppress(LiveRunError, StoreError, OSError), RunLock(folder):
                if record.read(folder):
                    record.update(folder, status="killed", reason=reason)
        run.status, run.reason, run.total = "queued", None, 0
        if run.deaths >= MOST:
            run.status, run.reason = "failed", reason
            self.say(f"{run.point.run}: {reason}.")
        else:
            self.waiting.appendleft((number,))
            self.say(f"{run.point.run}: {reason}; it goes on from its last checkpoint.")

    def _look(self) -> None:
        """Find out what became of runs that other processes train."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for number, run in enumerate(self.wanted):
            if run.status != "elsewhere":
                continue
            folder = self._folder(run)
            if folder is None or not is_live(folder):
                status = "queued" if folder is None else record.status(folder)
                run.status = status if status in DONE else "queued"
                run.reason = None
                if run.status == "queued":
                    self.waiting.append((number,))
                self.changed(run)

    def _folder(self, run: Progress) -> RunFolder | None:
        with suppress(StoreError):
            return find(self.runs, run.point.signature, run.point.seed)
        return None
