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


@dataclass
class Job:
    """One run of a sweep, and how far it is. A job is what one worker does at a time."""

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
    """Jobs, and the workers that do them."""

    runs: Path
    jobs: Sequence[Job]
    pool: Pool
    places: Sequence[Place]
    """Where workers may run: one each, at most."""
    say: Callable[[str], None]
    changed: Callable[[Job], None]
    """Hears of every job whose status changed."""
    stopping: bool = False
    waiting: deque[int] = field(default_factory=deque[int])
    working: dict[int, int] = field(default_factory=dict[int, int])
    """The job of each worker, by the process's id."""
    narrow: bool = False

    def __post_init__(self) -> None:
        self.waiting.extend(number for number, job in enumerate(self.jobs) if job.status == "queued")
        self._looked = 0.0

    @property
    def open(self) -> bool:
        """Whether there is anything to wait for."""
        if self.stopping:
            return bool(self.working)
        return bool(self.waiting or self.working or any(job.status == "elsewhere" for job in self.jobs))

    def now(self) -> dict[str, dict[str, Any]]:
        """Return, by label, what folders do not say: runs that are trained now and how far, those that cannot be."""
        told = (job for job in self.jobs if job.status in ("running", "elsewhere") or job.reason)
        return {
            job.point.run: {
                "status": job.status,
                "step": job.step,
                "total": job.total or None,
                "rate": None if job.rate is None else round(job.rate, 3),
                "reason": job.reason,
            }
            for job in told
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

    def _send(self, process: Process, number: int) -> None:
        job = self.jobs[number]
        job.status, job.began, job.first, job.step = "running", time.monotonic(), 0, 0
        self.working[process.popen.pid] = number
        process.channel.send({"id": number, "recipe": job.recipe.mapping(), "again": job.again})
        self.changed(job)

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
            self.working.pop(process.popen.pid, None)
            self.pool.largest = max(self.pool.largest, int(message.get("memory", 0)))
            self._conclude(self.jobs[int(message["id"])], message)
        elif "step" in message:
            job = self.jobs[int(message["id"])]
            if not job.total:
                job.first, job.began = message["step"], time.monotonic()
            job.step, job.total = message["step"], message["total"]
            job.again = False  # what was there has been set aside

    def _conclude(self, job: Job, message: Message) -> None:
        job.status, job.reason = str(message["ended"]), message.get("reason")
        job.again = False
        job.step = message.get("steps", job.step)
        if job.status == "elsewhere":
            self.say(str(job.reason))
        self.changed(job)

    def _mourn(self, process: Process) -> None:
        """A worker is gone: its run, if it had one, goes back into the queue."""
        how = process.ended() if self.stopping else self.pool.mourn(process)
        number = self.working.pop(process.popen.pid, None)
        if number is None:
            return
        job = self.jobs[number]
        folder = self._folder(job)
        newest = None if folder is None else next((step_of(path) for path in candidates(folder.checkpoints)), None)
        if folder is not None and record.status(folder) == "finished":
            job.status = "finished"  # it died between the record and its message
        elif self.stopping:
            job.status = "queued" if folder is None else record.status(folder)
        else:
            job.deaths = job.deaths + 1 if job.deaths and newest == job.checkpoint else 1
            job.checkpoint = newest
            self._requeue(number, how, folder)
        self.changed(job)

    def _requeue(self, number: int, how: str, folder: RunFolder | None) -> None:
        job = self.jobs[number]
        reason = f"its process was ended by {how}"
        if job.deaths >= MOST:
            reason = f"its process was ended {MOST} times ({how}) without a new checkpoint in between: given up"
        if folder is not None:
            with suppress(LiveRunError, StoreError, OSError), RunLock(folder):
                if record.read(folder):
                    record.update(folder, status="killed", reason=reason)
        job.status, job.reason, job.total = "queued", None, 0
        if job.deaths >= MOST:
            job.status, job.reason = "failed", reason
            self.say(f"{job.point.run}: {reason}.")
        else:
            self.waiting.appendleft(number)
            self.say(f"{job.point.run}: {reason}; it goes on from its last checkpoint.")

    def _look(self) -> None:
        """Find out what became of runs that other processes train."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for number, job in enumerate(self.jobs):
            if job.status != "elsewhere":
                continue
            folder = self._folder(job)
            if folder is None or not is_live(folder):
                status = "queued" if folder is None else record.status(folder)
                job.status = status if status in DONE else "queued"
                if job.status == "queued":
                    self.waiting.append(number)
                self.changed(job)

    def _folder(self, job: Job) -> RunFolder | None:
        with suppress(StoreError):
            return find(self.runs, job.point.signature, job.point.seed)
        return None
