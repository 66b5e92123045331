"""One sweep from a request to results on disk: identified, planned, queued, trained, shown.

The driver needs no torch: workers import it while the driver composes recipes. Whatever becomes of the driver, runs are
whole in their folders, and the same command does what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shoal.errors import InputError, LiveRunError, ShoalError, StoreError
from shoal.files import writable_folder
from shoal.recipe import Recipe
from shoal.store import RunFolder, RunId, RunLock, Summary, provenance, summaries, sweeps
from shoal.store.sweeps import Point, Sweep
from shoal.sweeps import machine
from shoal.sweeps.board import Board, driver, place_of, write_live
from shoal.sweeps.planning import DOING, RUNNING, Choice, Identity, Plan, Planned, by_identity, plan
from shoal.sweeps.points import Request
from shoal.sweeps.pool import Place, Pool, Setting
from shoal.sweeps.queue import Progress, Queue

LOG = "workers.log"
LIVE_SECONDS = 1.0
ASKED = 500
"""Recipes that are sent at once to be identified."""
TELL_SECONDS = 5.0
MOST_LOST = 3
"""Workers that may die while they identify points."""


@dataclass(frozen=True)
class Order:
    """What was asked for beside the points."""

    runs: Path
    name: str
    command: Sequence[str]
    modules: Sequence[str] = ()
    workers: int | None = None
    threads: int = 1
    choice: Choice = field(default_factory=Choice)


@dataclass(frozen=True)
class Identified:
    """A sweep whose runs are known: their recipes, and which look like a run of other data or code, and why."""

    sweep: Sweep
    recipes: Mapping[Identity, Recipe]
    stale: Mapping[Identity, str]


@dataclass
class Driver:
    """A sweep at work. `close` ends its workers, whatever happened."""

    order: Order
    say: Callable[[str], None]
    pool: Pool
    places: Sequence[Place]
    queue: Queue | None = None
    asked: str | None = None
    """The signal by which it was asked to stop."""
    answered: bool = False

    @property
    def stopped(self) -> dict[str, Any]:
        """What a scheduler wants to know of a stop: by which signal, and whether any step was made."""
        made = self.queue is not None and any(
            (run.total and run.step > run.first) or run.status == "finished" for run in self.queue.wanted
        )
        return {"by": self.asked, "new_steps": int(made)}

    @property
    def now(self) -> Mapping[str, Any]:
        """What folders do not say of the runs, by label."""
        return self.queue.now() if self.queue is not None else {}

    @classmethod
    def start(cls, order: Order, say: Callable[[str], None], *, at_once: int = 1) -> Driver:
        """Return a driver whose first workers are on their way, while the points are still to be composed."""
        pool = Pool(Setting(order.runs, order.modules, order.command, order.threads))
        made = places(order.workers, order.threads)
        for place in made[:at_once]:
            if pool.has_room():
                pool.start(place)
        return cls(order, say, pool, made)

    def identified(self, request: Request) -> Identified:
        """Return the sweep with the identity of every point.

        Points of the sweep's file that are no longer wanted stay in it, marked so.
        """
        found = self._signatures([wanted.recipe for wanted in request.wanted])
        points, recipes, stale = dict[Identity, Point](), dict[Identity, Recipe](), dict[Identity, str]()
        for wanted, (signature, why) in zip(request.wanted, found, strict=True):
            recipe = wanted.recipe
            identity = (signature, recipe.seed)
            label = RunId(recipe.name, signature, recipe.seed).label
            points.setdefault(identity, Point(label, *identity, wanted.values, wanted.overrides))
            recipes.setdefault(identity, recipe)
            if why:
                stale[identity] = why
        if same := request.doubled + len(request.wanted) - len(points):
            self.say(f"{same:,} of the points mean the same run as another one: each is trained once.")
        return Identified(self._merged(request, points), recipes, stale)

    def planned(self, wanted: Identified) -> tuple[Plan, dict[Identity, Summary]]:
        """Return what would be done, and what is there."""
        found = by_identity(summaries(self.order.runs))
        return plan(wanted.sweep, found, self.order.choice, wanted.stale), found

    def train(
        self,
        wanted: Identified,
        todo: Plan,
        found: dict[Identity, Summary],
        show: Callable[[Board, Queue], None],
        *,
        begun: Callable[[], None],
    ) -> Board:
        """Train what the plan says; `show` is called a few times a second, `begun` once nothing is in the way.

        Return what is known of every run then. Raises LiveRunError where another process drives the sweep.
        """
        runs, name = self.order.runs, self.order.name
        writable_folder(runs)
        place = place_of(runs, name)
        place.path.mkdir(parents=True, exist_ok=True)
        with _alone(runs, name, place):
            sweeps.write(runs, wanted.sweep)
            begun()
            self.pool.log_to(place.path / LOG)
            board = Board(runs, wanted.sweep, found)
            self.queue = queue = self._queue(wanted, todo, board)
            self._work(board, queue, show)
            return board

    def _work(self, board: Board, queue: Queue, show: Callable[[Board, Queue], None]) -> None:
        told = 0.0

        def tick() -> None:
            nonlocal told
            if self.asked is not None and not self.answered:
                self.answered = True
                self.say(f"{self.asked}: runs are saved and stopped; Ctrl-C once more ends them at once")
            if time.monotonic() - told >= LIVE_SECONDS:
                told = time.monotonic()
                self._tell(queue)
            show(board, queue)

        try:
            queue.work(tick)
        finally:
            self._tell(queue)

    def _tell(self, queue: Queue) -> None:
        with suppress(OSError):  # a full disk is for the runs to say
            write_live(self.order.runs, self.order.name, queue.now(), workers=len(self.pool.processes))

    def close(self) -> None:
        """End the workers."""
        self.pool.close()

    def _queue(self, wanted: Identified, todo: Plan, board: Board) -> Queue:
        runs = [
            Progress(each.point, wanted.recipes[each.identity], self.order.choice.again, _status(each))
            for each in todo.planned
            if each.doing in (*DOING, RUNNING)
        ]

        def changed(run: Progress) -> None:
            with suppress(StoreError):
                board.look(run.point)

        return Queue(self.order.runs, runs, self.pool, self.places[: max(1, len(runs))], self.say, changed)

    def _signatures(self, recipes: Sequence[Recipe]) -> list[tuple[str, str | None]]:
        """Ask the worker that is ready first which runs these are; another one where it dies."""
        found: list[tuple[str, str | None]] = []
        asked, lost, told, first = 0, 0, time.monotonic(), None
        while len(found) < len(recipes):
            for process, message in self.pool.events(1.0):
                if message is None:
                    if process is first:
                        asked, first, lost = len(found), None, lost + 1
                    if lost >= MOST_LOST:
                        raise ShoalError(f"workers end while they look at the points.\n{self.pool.printed()}".rstrip())
                    self.pool.replace(process)
                    continue
                if "refused" in message or message.get("reason"):
                    raise _error(message)
                process.ready = process.ready or "ready" in message
                found += [(signature, stale) for signature, stale in message.get("identified", ())]
            first = first or next((process for process in self.pool.processes if process.ready), None)
            if first is not None and asked == len(found) and asked < len(recipes):
                chunk = recipes[asked : asked + ASKED]
                first.channel.send({"identify": [recipe.mapping() for recipe in chunk]})
                asked += len(chunk)
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                self.say(f"{len(found):,} of {len(recipes):,} points are identified")
        return found

    def _merged(self, request: Request, points: Mapping[Identity, Point]) -> Sweep:
        """The sweep as it is now wanted, with the points that its file had before."""
        order, now = self.order, datetime.now(UTC).isoformat(timespec="seconds")
        before, asked = self._before(), provenance.command(order.command)
        kept = [
            replace(point, listed=False)
            for point in (before.points if before else ())
            if (point.signature, point.seed) not in points
        ]
        if before is not None and kept and before.command != asked:
            self.say(f"{len(kept):,} points that {order.name} had are no longer listed; --name keeps sweeps apart.")
        return Sweep(
            order.name,
            asked,
            before.made if before else now,
            now,
            request.base.mapping(),
            request.keys,
            (*points.values(), *kept),
            tuple(order.modules),
        )

    def _before(self) -> Sweep | None:
        """The sweep as its file has it; one that is damaged is set aside."""
        runs, name = self.order.runs, self.order.name
        if name not in sweeps.names(runs):
            return None
        try:
            return sweeps.read(runs, name)
        except sweeps.DamagedSweepError as error:
            path = sweeps.path_of(runs, name)
            self.say(f"{error} It is set aside as {path.name}.damaged.")
            path.replace(path.with_name(f"{path.name}.damaged"))
            return None


def places(workers: int | None, threads: int) -> list[Place]:
    """Return where workers run: on the GPUs, one each, else on cores of their own.

    More workers than there are cores share them.
    """
    cores, gpus = machine.cores(), machine.gpus()
    count = workers or len(gpus) or max(1, len(cores) // threads)
    crowded = count * threads != len(cores)  # other sweeps would sit on the same few
    return [
        Place(
            () if crowded or gpus else tuple(cores[number * threads : (number + 1) * threads]),
            gpus[number % len(gpus)] if gpus else None,
        )
        for number in range(count)
    ]


def being_driven(runs: Path, name: str) -> str:
    """Return the sentence for a sweep that another process drives, and what to do."""
    known = driver(runs, name) or {}
    who = f"process {known['pid']} on {known.get('host')} since {known.get('started')}" if known else "another process"
    return (
        f"the sweep {name} is being trained by {who}. Watch it with 'shoal attach {name}', or stop it with "
        f"'shoal cancel {name}': its runs are saved, and the same command continues them."
    )


@contextmanager
def _alone(runs: Path, name: str, place: RunFolder) -> Generator[None]:
    """Hold the lock of a sweep within the block."""
    lock = RunLock(place)
    try:
        lock.acquire()
    except LiveRunError as error:
        raise LiveRunError(being_driven(runs, name)) from error
    try:
        yield
    finally:
        lock.release()


def _status(planned: Planned) -> str:
    return "elsewhere" if planned.doing == RUNNING else "queued"


def _error(message: Mapping[str, Any]) -> ShoalError:
    reason = str(message["reason"])
    return InputError(reason) if message.get("input") else ShoalError(str(message.get("traceback") or reason))
