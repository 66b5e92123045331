"""What a sweep would do: which of its runs start, continue, are kept, and how long that takes. Nothing is done here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from shoal.errors import InputError, unknown
from shoal.pages import formats
from shoal.pages.naming import name_of, short_keys
from shoal.store import STATUSES, Summary
from shoal.store.sweeps import Point, Sweep

Identity = tuple[str, int]

START, CONTINUE, RETRY, KEEP, FAILED, RUNNING, LEFT = (
    "start",
    "continue",
    "retry",
    "keep",
    "failed",
    "running",
    "left out",
)
WORDS = {
    START: "to start",
    CONTINUE: "to continue from a checkpoint",
    RETRY: "failed, to be tried again",
    KEEP: "finished, kept as they are",
    FAILED: "failed, left as they are: --retry tries them again",
    RUNNING: "being trained by another process, waited for",
    LEFT: "left out by --only or --status",
}
DOING = (START, CONTINUE, RETRY)


@dataclass(frozen=True)
class Choice:
    """Which points are meant, and what is done with those that failed or are there."""

    only: Sequence[str] = ()
    """Patterns of names, all of which have to fit; `!PATTERN` is one that must not."""
    statuses: Sequence[str] = ()
    retry: bool = False
    again: bool = False


@dataclass(frozen=True)
class Planned:
    """One point, what is there of it, and what would be done."""

    point: Point
    found: Summary | None
    doing: str
    stale: str | None = None

    @property
    def identity(self) -> Identity:
        """Signature and seed."""
        return self.point.signature, self.point.seed


@dataclass(frozen=True)
class Plan:
    """All points in their order."""

    planned: Sequence[Planned]
    unlisted: int
    """Points of the sweep that are no longer listed; their runs stay."""
    seconds: float | None
    """How long what is to be done takes one worker; None: nothing has been measured."""

    @property
    def todo(self) -> list[Planned]:
        """What would be trained."""
        return [each for each in self.planned if each.doing in DOING]

    def lines(self, *, workers: int) -> list[str]:
        """Return the plan in words."""
        counts = {word: sum(each.doing == word for each in self.planned) for word in WORDS}
        said = [f"{count:>6,}  {WORDS[word]}" for word, count in counts.items() if count]
        stale = [each.stale for each in self.planned if each.stale]
        if stale:
            more = f", and {len(stale) - 1:,} more" if len(stale) > 1 else ""
            said.append(f"{len(stale):>6,}  stale: a run that looks the same is there ({stale[0].rstrip('.')}{more})")
        if self.unlisted:
            said.append(f"{self.unlisted:>6,}  no longer listed: their runs stay as they are")
        return [*said, self._time(workers)] if self.todo else [*said, "Nothing is left to train."]

    def _time(self, workers: int) -> str:
        side = f"{workers} workers" if workers > 1 else "1 worker"
        if self.seconds is None:
            return f"With {side}; no run of it has been timed yet."
        return (
            f"With {side} it takes about {formats.duration(self.seconds / workers)}, at the rate of its finished runs."
        )


def plan(sweep: Sweep, found: Mapping[Identity, Summary], choice: Choice, stale: Mapping[Identity, str]) -> Plan:
    """Return what would be done; raises InputError for a status that is none, or a pattern that fits nothing."""
    listed = [point for point in sweep.points if point.listed]
    chosen = _chosen(listed, sweep, choice, found)
    planned = [
        Planned(point, known := found.get(identity), doing := _doing(known, choice, identity in chosen),
                stale.get(identity) if doing == START else None)
        for point in listed
        for identity in [(point.signature, point.seed)]
    ]  # fmt: skip
    return Plan(planned, len(sweep.points) - len(listed), _seconds(planned))


def by_identity(runs: Iterable[Summary]) -> dict[Identity, Summary]:
    """Return summaries under signature and seed."""
    return {(run.signature, run.seed): run for run in runs}


def _doing(known: Summary | None, choice: Choice, chosen: bool) -> str:
    status = known.status if known else "queued"
    if not chosen:
        return KEEP if status == "finished" and not choice.again else LEFT
    if status == "running":
        return RUNNING
    if status == "finished":
        return START if choice.again else KEEP
    if status == "failed" and not choice.again:
        return RETRY if choice.retry else FAILED
    return CONTINUE if known is not None and known.steps and not choice.again else START


def _chosen(points: Sequence[Point], sweep: Sweep, choice: Choice, found: Mapping[Identity, Summary]) -> set[Identity]:
    for status in choice.statuses:
        if status not in STATUSES:
            raise InputError(unknown("status", status, STATUSES))
    short = short_keys([*sweep.keys, "seed"])
    chosen = list(points)
    for pattern in choice.only:
        wanted, glob = not pattern.startswith("!"), pattern.removeprefix("!")
        fitting = {
            (point.signature, point.seed)
            for point in points
            if fnmatchcase(f" {point.run} {name_of({**point.values, 'seed': point.seed}, short)} ", f"* {glob} *")
        }
        if not fitting:
            example = name_of({**points[0].values, "seed": points[0].seed}, short) if points else ""
            raise InputError(f"--only {pattern!r} fits none of the {len(points):,} points, such as {example!r}.")
        chosen = [point for point in chosen if ((point.signature, point.seed) in fitting) == wanted]
    identities = {(point.signature, point.seed) for point in chosen}
    if not choice.statuses:
        return identities
    status_of = {each: known.status if (known := found.get(each)) else "queued" for each in identities}
    return {each for each in identities if status_of[each] in choice.statuses}


def _seconds(planned: Sequence[Planned]) -> float | None:
    """Seconds of what is left, by what its finished runs took a step; of another kind of run they say nothing."""
    finished = [each.found for each in planned if each.found and each.found.status == "finished"]
    timed = [(run.seconds, run.steps) for run in finished if run.seconds and run.steps]
    if not timed:
        return None
    a_step, a_run = (sum(s for s, _ in timed) / total for total in (sum(n for _, n in timed), len(timed)))
    left = 0.0
    for each in planned:
        if each.doing not in DOING:
            continue
        run = each.found
        known = run is not None and run.total_steps is not None and each.doing != START
        left += a_step * (run.total_steps - run.steps) if known and run and run.total_steps else a_run
    return left
