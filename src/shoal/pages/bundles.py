"""The curves of many runs: of each experiment the values of all its seeds at the same steps, thinned to fit a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shoal.analysis import Experiment
from shoal.pages.main_metrics import main_metrics
from shoal.pages.series import Point, points
from shoal.pages.splits import split_of
from shoal.store import read_journal

T = TypeVar("T")
MOST_POINTS, LEAST_POINTS = 200, 20
MOST_NUMBERS = 220_000
"""Values on a page: about 1.5 MB."""
MOST_METRICS = 8


@dataclass(frozen=True)
class Bundle:
    """One metric of one experiment: steps, and for each run (in the order of its members) its values there."""

    steps: Sequence[float]
    values: Sequence[Sequence[float]]
    """NaN where a run has no value, or one that is not finite."""

    def fewer(self, most: int) -> Bundle:
        """Return the same at no more than `most` steps."""
        if len(self.steps) <= most:
            return self
        return Bundle(evenly(self.steps, most), [evenly(run, most) for run in self.values])

    def band(self) -> list[tuple[float, float, float, float]]:
        """Return step, mean, least and largest at each step where any run has a value."""
        found: list[tuple[float, float, float, float]] = []
        for at, step in enumerate(self.steps):
            there = [run[at] for run in self.values if math.isfinite(run[at])]
            if there:
                found.append((step, math.fsum(value / len(there) for value in there), min(there), max(there)))
        return found


Curves = Mapping[str, Sequence[Bundle | None]]
"""For each metric a bundle for each experiment, None where no run of it has a value."""


def curves_of(experiments: Sequence[Experiment]) -> Curves:
    """Return the curves of all experiments, of at most `MOST_METRICS` metrics, the most telling first."""
    bundles = [_bundles(one) for one in experiments]  # one experiment's histories are in memory at a time
    names = dict.fromkeys(name for found in bundles for name in found)
    runs = sum(len(one.members) for one in experiments)
    fitting = max(1, MOST_NUMBERS // max(1, runs * LEAST_POINTS))
    chosen = _ordered(list(names))[: min(MOST_METRICS, fitting)]
    most = min(MOST_POINTS, max(LEAST_POINTS, MOST_NUMBERS // max(1, runs * len(chosen))))
    return {name: [one.fewer(most) if (one := found.get(name)) else None for found in bundles] for name in chosen}


def _bundles(experiment: Experiment) -> dict[str, Bundle]:
    """The curves of one experiment by metric; a test is measured once, and has none."""
    rows = [read_journal(member.folder.history)[0] for member in experiment.members]
    keys = dict.fromkeys(key for run in rows for row in run for key in row)
    names = [name for name in keys if split_of(name) and not name.startswith("test")]
    found = {name: _bundle([points(run, name) for run in rows]) for name in names}
    return {name: bundle for name, bundle in found.items() if bundle is not None}


def _ordered(names: Sequence[str]) -> list[str]:
    main = main_metrics(names)
    return [*main, *sorted((name for name in names if name not in main), key=lambda name: split_of(name) != "train")]


def _bundle(runs: Sequence[Sequence[Point]]) -> Bundle | None:
    steps = evenly(sorted({step for run in runs for step, _ in run}), MOST_POINTS)
    known = [dict(run) for run in runs]
    values = [[run.get(step, math.nan) for step in steps] for run in known]
    return Bundle(steps, values) if any(math.isfinite(value) for run in values for value in run) else None


def evenly(steps: Sequence[T], most: int) -> list[T]:
    """Return at most `most` of the steps, the first and the last among them.

    >>> evenly([1, 2, 3, 4, 5, 6, 7], 3)
    [1, 4, 7]
    """
    if len(steps) <= most:
        return list(steps)
    return [steps[round(at * (len(steps) - 1) / (most - 1))] for at in range(most)]
