"""Runs, experiments and sweeps side by side, as data: what differs in recipe and source, results, verdicts.

Results are those of finished runs; what the others have so far is shown and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from shoal.analysis import Difference, Experiment, Mean, difference, is_share_of, mean_of, verdict, wilson
from shoal.errors import InputError
from shoal.pages import formats
from shoal.pages.chosen import Item
from shoal.pages.lenient import inner
from shoal.pages.main_metrics import main_metrics, metrics_of, ranked
from shoal.pages.patches import changes
from shoal.pages.patches import difference as patch_difference
from shoal.pages.series import lower_is_better
from shoal.pages.sources import apart, facts_of
from shoal.pages.splits import AVERAGED, split_of

SHARES = ("accuracy", "top5", "error", "exact_match")
"""Metrics, by their last word, that may be a count of examples divided by their number."""
NOT_OF_A_RECIPE = ("name", "seed")


@dataclass(frozen=True)
class Setting:
    """A key of the recipe that differs: a value for each item, and whether it is the default or not known."""

    key: str
    values: Sequence[Any]
    kinds: Sequence[str]
    """For each item: said, default, none."""


@dataclass(frozen=True)
class Result:
    """A metric of one item."""

    mean: Mean | None
    so_far: float | None = None
    """The latest value, where no run is finished."""
    examples: int | None = None
    interval: tuple[float, float] | None = None
    """Of the mean over seeds; of one run's share, over the examples."""


@dataclass(frozen=True)
class Verdict:
    """What a metric says of two items."""

    metric: str
    first: str
    second: str
    words: str
    found: Difference | None


@dataclass(frozen=True)
class Facts:
    """What `shoal compare` tells."""

    items: Sequence[Item]
    settings: Sequence[Setting]
    sources: Mapping[str, Sequence[str]]
    same: Mapping[str, str]
    patch: str
    results: Mapping[str, Sequence[Result]]
    main: Sequence[str]
    verdicts: Sequence[Verdict]
    notes: Sequence[str] = field(default_factory=list[str])


def compared(items: Sequence[Item]) -> Facts:
    """Return what there is to say of items; raises InputError where they have metrics and share none."""
    experiments = [item.experiment for item in items]
    differing, same = apart([facts_of(one.members) for one in experiments])
    patches = {item.letter: changes(item.experiment.members[0].folder) for item in items}
    _shares_a_metric(items)
    names = metrics_of(experiments)
    main = main_metrics(names)
    return Facts(
        items=items,
        settings=settings(experiments),
        sources=differing,
        same=same,
        patch=patch_difference(patches),
        results={name: [result(one, name) for one in experiments] for name in names},
        main=main,
        verdicts=[one for metric in main for one in _verdicts(items, metric)],
        notes=_notes(items, differing),
    )


def settings(experiments: Sequence[Experiment]) -> list[Setting]:
    """Return the keys of the recipes that differ; where one does not have a key, its default where that is known."""
    configs = [one.config for one in experiments]
    keys = dict.fromkeys(key for config in configs for key in config if key not in NOT_OF_A_RECIPE)
    defaults = {str(row["key"]): row.get("default") for one in reversed(experiments) for row in one.said}
    found: list[Setting] = []
    for key in keys:
        told = [_value(config, key, configs, defaults) for config in configs]
        values, kinds = [value for value, _ in told], [kind for _, kind in told]
        if any(value != values[0] or (kind == "none") != (kinds[0] == "none") for value, kind in told):
            found.append(Setting(key, values, kinds))
    return found


def _value(
    config: Mapping[str, Any], key: str, configs: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any]
) -> tuple[Any, str]:
    """A key's value, and how it is known. A default holds for the entry that it was written down for, and no other."""
    if key in config:
        return config[key], "said"
    name = f"{key.rpartition('.')[0]}.name"
    entries = {str(other.get(name)) for other in configs if key in other}
    if key in defaults and (key == name or entries == {str(config.get(name))}):
        return defaults[key], "default"
    return None, "none"


def result(experiment: Experiment, metric: str) -> Result:
    """Return a metric of an experiment with what is known of how sure it is."""
    found = mean_of(experiment.results(metric).values())
    if found is None:
        latest = [value for member in experiment.members if (value := member.value(metric)) is not None]
        return Result(None, so_far=latest[0] if latest else None)
    if found.low is not None and found.high is not None:
        return Result(found, interval=(found.low, found.high))
    count = examples(experiment, metric)
    if count and is_share_of(found.mean, count):
        return Result(found, examples=count, interval=wilson(found.mean, count))
    return Result(found)


def examples(experiment: Experiment, metric: str) -> int | None:
    """Return on how many examples a share was measured, None where that is not recorded or it is no share."""
    if metric.rpartition(".")[2] not in SHARES:
        return None
    sizes = inner(inner(experiment.known, "data"), "sizes")
    count = sizes.get(split_of(metric).removesuffix(AVERAGED))
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None


def _shares_a_metric(items: Sequence[Item]) -> None:
    names = {item.letter: set(metrics_of([item.experiment])) for item in items}
    for a, b in combinations([letter for letter, found in names.items() if found], 2):
        if not names[a] & names[b]:
            raise InputError(
                f"{a} and {b} have no metric in common: {a} has {_listed(names[a])}; {b} has {_listed(names[b])}. "
                "Compare runs of one task."
            )


def _listed(names: set[str]) -> str:
    return ", ".join(formats.clean(name) for name in sorted(names)[:6])


def _verdicts(items: Sequence[Item], metric: str) -> list[Verdict]:
    """Of two items what decides between them; of more, the best against each of the others."""
    lower = lower_is_better(metric)
    of = {id(item.experiment): item for item in items if item.experiment.results(metric)}
    if len(of) < 2:
        return []
    order = [of[id(one)] for one in ranked([item.experiment for item in of.values()], metric)]
    pairs = [tuple(of.values())] if len(of) == 2 else [(order[0], other) for other in order[1:]]
    found: list[Verdict] = []
    for first, second in pairs:
        a, b = first.experiment.results(metric), second.experiment.results(metric)
        seen = difference(a, b, examples=_both_measured_on(first.experiment, second.experiment, metric))
        words = verdict(first.letter, second.letter, seen, lower_is_better=lower)
        found.append(Verdict(metric, first.letter, second.letter, words, seen))
    return found


def _both_measured_on(a: Experiment, b: Experiment, metric: str) -> int | None:
    counts = [result(one, metric).examples for one in (a, b)]
    return counts[0] if counts[0] == counts[1] else None


def _notes(items: Sequence[Item], differing: Mapping[str, Sequence[str]]) -> list[str]:
    notes = list(dict.fromkeys(item.note for item in items if item.note))
    if "data" in differing or "examples" in differing:
        notes.append("The data differ: results on other data do not compare.")
    for item in items:
        left = [member for member in item.experiment.members if member.summary.status != "finished"]
        if left and len(left) < len(item.experiment.members):
            seeds = ", ".join(f"{member.seed} ({formats.clean(member.summary.status)})" for member in left)
            notes.append(f"{item.letter}: seeds that are not finished are left out of its results: {seeds}.")
    return notes


def as_data(facts: Facts) -> dict[str, Any]:
    """Return everything as `--json` prints it."""
    return {
        "items": [_item(item) for item in facts.items],
        "recipe": [{"key": one.key, "values": list(one.values), "from": list(one.kinds)} for one in facts.settings],
        "sources": {name: list(values) for name, values in facts.sources.items()},
        "same": dict(facts.same),
        "patch": facts.patch or None,
        "results": {name: [_result(one) for one in row] for name, row in facts.results.items()},
        "verdicts": [_verdict(one) for one in facts.verdicts],
        "notes": list(facts.notes),
    }


def _item(item: Item) -> dict[str, Any]:
    runs = [
        {"run": one.summary.label, "seed": one.seed, "status": one.summary.status, "reason": one.summary.reason}
        for one in item.experiment.members
    ]
    return {"letter": item.letter, "title": item.title, "runs": runs}


def _result(one: Result) -> dict[str, Any]:
    low, high = one.interval or (None, None)
    n, mean = (one.mean.n, one.mean.mean) if one.mean else (0, None)
    deviation = one.mean.deviation if one.mean else None
    told = {"mean": mean, "deviation": deviation, "n": n, "low": low, "high": high, "examples": one.examples}
    return told | ({"so_far": one.so_far} if one.so_far is not None else {})


def _verdict(one: Verdict) -> dict[str, Any]:
    told: dict[str, Any] = {"metric": one.metric, "first": one.first, "second": one.second, "words": one.words}
    if one.found is not None:
        found = one.found
        told |= {"difference": found.value, "low": found.low, "high": found.high, "kind": found.kind, "n": found.n}
    return told
