"""What a page of many runs is about: experiments, the best first, what varies among them, and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from shoal.analysis import Experiment, Mean, mean_of, of_sweep
from shoal.errors import InputError
from shoal.pages.main_metrics import main_metrics, metrics_of, ranked, ranking_metric
from shoal.pages.varied import Axis, text_of, varied
from shoal.store.sweeps import Sweep

LONGEST = 160
"""Characters of an experiment's name."""


@dataclass(frozen=True)
class View:
    """Experiments in their order, and everything that several parts of the page ask of them."""

    title: str
    experiments: Sequence[Experiment]
    axes: Sequence[Axis]
    metrics: Sequence[str]
    """The metrics that say most."""
    ranking: str | None
    sweep: Sweep | None = None

    @cached_property
    def names(self) -> list[str]:
        """What tells each experiment from the others, in few words."""
        if not self.axes:
            return [one.label for one in self.experiments]
        told = [
            " ".join(f"{axis.short}={text_of(one.config.get(axis.key))}" for axis in self.axes)
            for one in self.experiments
        ]
        return [name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in told]

    @cached_property
    def results(self) -> list[Mapping[str, Mean | None]]:
        """The mean of each main metric over the finished runs of each experiment."""
        return [{metric: mean_of(one.results(metric).values()) for metric in self.metrics} for one in self.experiments]

    def values(self, axis: Axis) -> list[object]:
        """Return the value of a key in each experiment."""
        return [one.config.get(axis.key) for one in self.experiments]

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return sum(len(one.members) for one in self.experiments)


def view_of(title: str, experiments: Sequence[Experiment], sweep: Sweep | None = None) -> View:
    """Return what is shown of experiments."""
    names = metrics_of(experiments)
    ranking = ranking_metric(names)
    axes = varied(experiments, sweep.keys if sweep is not None else None)
    return View(title, ranked(experiments, ranking), axes, main_metrics(names), ranking, sweep)


def view_of_sweep(runs: Path, sweep: Sweep) -> View:
    """Return what is shown of a sweep; raises InputError for one without runs."""
    experiments = of_sweep(runs, sweep)
    if not experiments:
        raise InputError(f"the sweep {sweep.name!r} has no runs: there is nothing to show.")
    return view_of(sweep.name, experiments, sweep)
