"""Which metrics say most of a run, by their names: what experiments are ranked by, and what verdicts are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shoal.analysis import Experiment, Mean, mean_of
from shoal.pages.series import MAIN, OF_CLIPPING, lower_is_better
from shoal.pages.splits import split_of

MEASURED_ON = ("test", "test_average", "valid", "valid_average")
LOSS = "loss"
FEW = 4


def main_metrics(names: Iterable[str]) -> list[str]:
    """Return the metrics that say most: of test and of valid the first of `MAIN`, then their losses.

    Where nothing is known of the names, all of them that are not of train, sorted; else those of train.

    >>> main_metrics(["train.loss", "valid.loss", "valid.accuracy", "test.loss", "test.accuracy", "test.top5"])
    ['test.accuracy', 'valid.accuracy', 'test.loss', 'valid.loss']
    >>> main_metrics(["reward", "length", "train.reward"])
    ['length', 'reward']
    """
    known = set(names)
    first = [f"{split}.{best}" for split in MEASURED_ON if (best := _best_of(split, known))]
    losses = [f"{split}.{LOSS}" for split in MEASURED_ON if f"{split}.{LOSS}" in known]
    found = list(dict.fromkeys([*first, *losses]))
    if not found:
        others = sorted(name for name in known if name.rpartition(".")[2] not in OF_CLIPPING)
        found = [name for name in others if split_of(name) != "train"] or others
    return found[:FEW]


def _best_of(split: str, known: set[str]) -> str | None:
    return next((name for name in MAIN if f"{split}.{name}" in known), None)


def ranking_metric(names: Iterable[str]) -> str | None:
    """Return what experiments are ranked by: of valid where there is one, so that test is not chosen by.

    >>> ranking_metric(["test.accuracy", "valid.accuracy", "test.loss"]), ranking_metric([])
    ('valid.accuracy', None)
    """
    main = main_metrics(names)
    return next((name for name in main if split_of(name).startswith("valid")), main[0] if main else None)


def metrics_of(experiments: Iterable[Experiment]) -> list[str]:
    """Return every metric that a run of them has, in the order in which they come."""
    return list(dict.fromkeys(key for one in experiments for member in one.members for key in member.summary.metrics))


def ranked(experiments: Sequence[Experiment], metric: str | None) -> list[Experiment]:
    """Return experiments by the mean of a metric over finished runs, the best first; those without it at the end."""
    if metric is None:
        return list(experiments)
    means = {id(one): mean_of(one.results(metric).values()) for one in experiments}
    return sorted(experiments, key=lambda one: _key(means[id(one)], lower=lower_is_better(metric)))


def _key(found: Mean | None, *, lower: bool) -> tuple[bool, float]:
    return (True, 0.0) if found is None else (False, found.mean if lower else -found.mean)
