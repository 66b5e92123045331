"""What is to be compared, from a few words: a run, an experiment with all its seeds, or a sweep.

One sweep by itself is its experiments, the best of them. Beside others, a sweep stands for its best experiment,
chosen on valid where that was measured. A name that a sweep has means the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from shoal.analysis import Experiment, of_runs, of_sweep
from shoal.errors import InputError, StoreError
from shoal.files import SAFE_NAME
from shoal.pages import formats
from shoal.pages.main_metrics import metrics_of, ranked, ranking_metric
from shoal.store import RunFolder, sweeps
from shoal.store.lookup import resolve_experiment

LETTER = "\0"
"""Where a note names its item, before that has a letter."""
MOST = 8
"""Experiments that are compared side by side."""


@dataclass(frozen=True)
class Item:
    """One column of a comparison."""

    letter: str
    experiment: Experiment
    note: str = ""

    @property
    def title(self) -> str:
        """The run's label, or the experiment's with its seeds."""
        members = self.experiment.members
        if len(members) == 1:
            return members[0].summary.label
        return f"{self.experiment.label} ({len(members)} seeds)"


def is_sweep(runs: Path, word: str) -> bool:
    """Return whether a word names a sweep of this folder of runs."""
    return SAFE_NAME.fullmatch(word) is not None and sweeps.path_of(runs, word).is_file()


def folders_of(runs: Path, word: str) -> list[RunFolder]:
    """Return the runs of the one experiment that a word means; raises StoreError where there is none, or several."""
    try:
        return resolve_experiment(runs, word)
    except StoreError as error:
        known = sweeps.names(runs)
        if not known or not str(error).startswith("no run "):
            raise
        raise StoreError(f"{error} Nor is it a sweep: there are {', '.join(known[:MOST])}.") from error


def items(runs: Path, words: Sequence[str]) -> list[Item]:
    """Return what to compare; raises InputError for fewer than two things, or for too many."""
    if len(words) == 1 and is_sweep(runs, words[0]):
        found = _of_sweep(runs, words[0])
    else:
        found = [_item(runs, word) for word in words]
    named: dict[tuple[str, ...], Item] = {}
    for item in found:
        named.setdefault(tuple(str(member.folder.path.absolute()) for member in item.experiment.members), item)
    if len(named) < 2:
        raise InputError(_too_few(words, len(found)))
    if len(named) > MOST:
        raise InputError(f"{len(named)} things to compare: at most {MOST} are. 'shoal report' makes a page of more.")
    lettered = zip(ascii_uppercase, named.values(), strict=False)
    return [Item(letter, item.experiment, item.note.replace(LETTER, letter)) for letter, item in lettered]


def _item(runs: Path, word: str) -> Item:
    if not is_sweep(runs, word):
        return Item("", of_runs(folders_of(runs, word))[0])
    every = of_sweep(runs, sweeps.read(runs, word))
    metric = ranking_metric(metrics_of(every))
    if not every:
        raise InputError(f"the sweep {word!r} has no runs: nothing can be compared with it.")
    if metric is None:
        raise InputError(
            f"no run of the sweep {word!r} has a metric yet: which of its experiments is best is not known."
        )
    return Item(
        "",
        ranked(every, metric)[0],
        f"{LETTER} is the best of the {len(every)} experiments of {word} by {formats.clean(metric)}.",
    )


def _of_sweep(runs: Path, word: str) -> list[Item]:
    every = of_sweep(runs, sweeps.read(runs, word))
    metric = ranking_metric(metrics_of(every))
    shown = ranked(every, metric)[:MOST]
    left = f"These are the best {len(shown)} of the {len(every)} experiments of {word} by {formats.clean(metric)}."
    return [Item("", one, left if len(every) > len(shown) else "") for one in shown]


def _too_few(words: Sequence[str], found: int) -> str:
    if not words:
        return "nothing to compare: name two or more runs, experiments or sweeps."
    if found > 1:
        return f"{' and '.join(map(repr, words))} are the same runs: name two that differ."
    return (
        f"{words[0]!r} alone cannot be compared: name another run, experiment or sweep beside it. "
        "'shoal show' shows one run."
    )
