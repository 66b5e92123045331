"""What is known of every run of a sweep at this moment: from their folders, and from whoever drives it.

The driver writes `runs/.sweeps/<name>/live.json` a few times a second, for those who watch; the rest stands in the
folders of the runs. Folders are read again only where something may have changed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from shoal import files
from shoal.errors import StoreError
from shoal.pages.naming import name_of, short_keys
from shoal.pages.sweep_table import Row
from shoal.store import RunFolder, Summary, find, is_live, record, resolve, summaries, sweeps
from shoal.store.catalog import summary_of
from shoal.store.lock import owner
from shoal.store.sweeps import FOLDER, Point, Sweep
from shoal.sweeps.planning import Identity, by_identity

LIVE = "live.json"
MANY = 50
SETTLED = frozenset({"finished"})
"""Statuses of folders that are not read again."""


def place_of(runs: Path, name: str) -> RunFolder:
    """Return the folder of a sweep's driver: its lock, its log, what it says of the moment."""
    return RunFolder(runs / FOLDER / files.safe_name(name, "sweep"))


def run_or_sweep(runs: Path, name: str) -> RunFolder:
    """Return what is locked while a run, or the sweep of that name, is being trained; raises StoreError for neither."""
    known = sweeps.names(runs)
    if name in known:
        return place_of(runs, name)
    try:
        return resolve(runs, name)
    except StoreError as error:
        there = f" The sweeps are: {', '.join(known)}." if known else ""
        raise StoreError(f"{error}{there}") from error


def driver(runs: Path, name: str) -> Mapping[str, Any] | None:
    """Return host, pid and start of the process that drives a sweep; None where none does."""
    place = place_of(runs, name)
    return (owner(place) or {}) if is_live(place) else None


def write_live(runs: Path, name: str, now: Mapping[str, Any], *, workers: int) -> None:
    """Write what folders do not say, by label: which runs are trained now and how far, and those that cannot be."""
    told = {"time": time.time(), "pid": os.getpid(), "workers": workers, "runs": now}
    path = place_of(runs, name).path / LIVE
    temporary = path.with_suffix(".tmp")  # no flush: it is worth nothing a second later
    temporary.write_text(files.to_json(told))
    temporary.replace(path)


def read_live(runs: Path, name: str) -> dict[str, Any]:
    """Return what the driver wrote last, {} where it wrote nothing."""
    try:
        found: Any = json.loads((place_of(runs, name).path / LIVE).read_bytes())
    except (OSError, ValueError):
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


@dataclass
class Board:
    """The rows of a sweep's table."""

    runs: Path
    sweep: Sweep
    known: dict[Identity, Summary] = field(default_factory=dict[Identity, Summary])
    points: list[Point] = field(default_factory=list[Point])
    """Those that are shown."""

    def __post_init__(self) -> None:
        self.points = self.points or [point for point in self.sweep.points if point.listed]
        short = short_keys(self.sweep.keys)
        self._names = {_key(point): name_of(point.values, short) for point in self.points}

    def look(self, point: Point) -> None:
        """Read a run's folder again."""
        folder = find(self.runs, point.signature, point.seed)
        found = summary_of(folder) if folder is not None and record.read(folder) else None
        if found is not None:
            self.known[_key(point)] = found

    def refresh(self) -> None:
        """Read the folders of runs that are not finished again."""
        open_ones = [point for point in self.points if self._is_open(point)]
        if len(open_ones) > MANY:  # to look for each would list the folder as often
            self.known |= by_identity(summaries(self.runs))
            return
        for point in open_ones:
            self.look(point)

    def _is_open(self, point: Point) -> bool:
        known = self.known.get(_key(point))
        return known is None or known.status not in SETTLED

    def rows(self, live: Mapping[str, Any]) -> list[Row]:
        """Return a row for each run; `live` is what the driver says of the moment, by label."""
        return [self._row(point, live.get(point.run) or {}) for point in self.points]

    def _row(self, point: Point, now: Mapping[str, Any]) -> Row:
        found = self.known.get(_key(point))
        status = str(now.get("status") or (found.status if found else "queued"))
        steps = int(now.get("step") or (found.steps if found else 0))
        total = now.get("total") or (found.total_steps if found else None)
        per_epoch = found.steps_per_epoch if found else None
        return Row(
            self._names[_key(point)],
            point.signature,
            point.seed,
            "running" if status == "elsewhere" else status,
            steps,
            total,
            steps / per_epoch if per_epoch and steps else None,
            dict(found.metrics) if found else {},
            now.get("rate"),
            now.get("reason") or (found.reason if found else None),
        )


def _key(point: Point) -> Identity:
    return point.signature, point.seed
