"""Runs as experiments: those that differ by their seed only stand together, with what each of them says.

Of named runs, or of a sweep with its runs that are still queued. Reads records; what cannot be read is a member too,
with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from shoal.errors import StoreError
from shoal.store import RunFolder, Summary, find, record
from shoal.store.catalog import UNREADABLE, summary_of
from shoal.store.layout import SIGNATURE
from shoal.store.sweeps import Point, Sweep

Known = Mapping[str, Any]
NOTHING: Known = {}


@dataclass(frozen=True)
class Member:
    """One run of an experiment: its summary, and its record where there is one."""

    summary: Summary
    known: Known = field(default_factory=dict[str, Any], repr=False)

    @property
    def seed(self) -> int:
        return self.summary.seed

    @property
    def folder(self) -> RunFolder:
        return self.summary.folder

    def value(self, metric: str) -> float | None:
        """Return a metric of its result, or of its latest row; None for one that is missing or not finite."""
        try:
            value = float(self.summary.metrics[metric])
        except (KeyError, OverflowError):
            return None
        return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Experiment:
    """A recipe without its seed, and its runs by seed."""

    label: str
    members: tuple[Member, ...]
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What a sweep says is its own, by dotted key."""
    base: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """The recipe that the sweep starts from, for an experiment of which no record says more."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """What is known of the recipe, as dotted keys: what identifies it, what it says beside the defaults."""
        known = self.known
        recipe = _mapping(_mapping(known.get("identity")).get("recipe"))
        said = {str(row["key"]): row.get("value") for row in self.said}
        return {**_flat(recipe or self.base), **said, **self.values}

    @property
    def said(self) -> list[dict[str, Any]]:
        """The rows `{"key", "value", "default"}` of what the recipe says beside the defaults, without the seed."""
        rows: object = self.known.get("said")
        found = [_mapping(row) for row in cast(list[object], rows)] if isinstance(rows, list) else []
        return [row for row in found if isinstance(row.get("key"), str) and row["key"] != "seed"]

    @property
    def known(self) -> Known:
        """The record of the first run that has one."""
        return next((member.known for member in self.members if member.known), NOTHING)

    @property
    def finished(self) -> list[Member]:
        """The runs whose metrics are results."""
        return [member for member in self.members if member.summary.status == "finished"]

    def results(self, metric: str) -> dict[int, float]:
        """Return the finite values of a metric by seed, of finished runs only."""
        found = {member.seed: member.value(metric) for member in self.finished}
        return {seed: value for seed, value in found.items() if value is not None}


def of_runs(folders: Iterable[RunFolder]) -> list[Experiment]:
    """Return runs as experiments, in the order in which they first come; folders that are no runs are left out."""
    grouped: dict[str, dict[Path, Member]] = {}
    for folder in folders:
        summary = summary_of(folder)
        if summary is not None:
            of = summary.signature if SIGNATURE.fullmatch(summary.signature) else str(folder.path.absolute().parent)
            grouped.setdefault(of, {})[folder.path.absolute()] = member(summary)
    return [_experiment(list(members.values())) for members in grouped.values()]


def of_sweep(runs: Path, sweep: Sweep) -> list[Experiment]:
    """Return the experiments of a sweep, in its order; runs without a folder are queued."""
    grouped: dict[str, dict[int, tuple[Point, Member]]] = {}
    for point in sweep.points:
        if point.listed:
            grouped.setdefault(point.signature, {})[point.seed] = (point, _member_of(runs, point))
    found: list[Experiment] = []
    for members in grouped.values():
        points = list(members.values())
        found.append(_experiment([member for _, member in points], values=points[0][0].values, base=sweep.base))
    return found


def _member_of(runs: Path, point: Point) -> Member:
    label, reason = str(point.run), ""
    name = label.partition("/")[0].rpartition("-")[0]
    try:
        folder = find(runs, point.signature, point.seed)
        summary = summary_of(folder) if folder is not None else None
        if summary is not None:
            return member(summary)
    except StoreError as error:
        reason = str(error)
    status = UNREADABLE if reason else "queued"
    there = RunFolder(runs / label)
    return Member(Summary(there, label, name, point.signature, point.seed, status, reason=reason or None))


def member(summary: Summary) -> Member:
    """Return a run with its record, {} where that cannot be read."""
    try:
        return Member(summary, record.read(summary.folder))
    except StoreError:
        return Member(summary)


def _experiment(
    members: list[Member], *, values: Mapping[str, Any] | None = None, base: Mapping[str, Any] | None = None
) -> Experiment:
    ordered = tuple(sorted(members, key=lambda one: (one.seed, one.summary.label)))
    return Experiment(ordered[0].summary.label.partition("/")[0], ordered, dict(values or {}), _mapping(base))


def _flat(recipe: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        below = _mapping(value)
        found |= _flat(below, f"{above}{key}.") if below else {f"{above}{key}": value}
    return found


def _mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
