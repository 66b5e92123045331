"""The run that a person means by a few words: a path, a label, a name, some digits of a signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from shoal.errors import StoreError, nearest
from shoal.store.catalog import Summary, every_summary
from shoal.store.folder import is_run
from shoal.store.layout import SEED, RunFolder

LISTED = 8
"""Candidates that an error names."""
DIGITS = re.compile(r"[0-9a-fA-F]{4,32}")


def resolve(runs: Path, text: str, *, leave_out: Callable[[RunFolder], bool] | None = None) -> RunFolder:
    """Return the run that `text` means: a folder's path, a label, a name, or four or more digits of a signature.

    `/seed-n` after a name or a signature chooses among seeds. Raises StoreError for none (with the nearest) and for
    more than one (with the candidates). Only a path leads out of `runs`: labels are compared, never joined. A name or a
    label never means a run that is to be left out.
    """
    if at_path := _at_path(text):
        return at_path
    experiment, _, seed = text.strip("/").partition("/")
    every = every_summary(runs)
    chosen = _matching(every, experiment, seed)
    if not seed:
        chosen = [run for run in chosen if SEED.fullmatch(run.folder.path.name)]
    if leave_out is not None:
        every = [run for run in every if run not in chosen or not leave_out(run.folder)]
        chosen = [run for run in chosen if run in every]
    if not chosen:
        raise StoreError(_unknown(runs, text, every))
    return _the_only(text, sorted((run.folder for run in chosen), key=lambda folder: folder.label))


def resolve_experiment(runs: Path, text: str) -> list[RunFolder]:
    """Return the runs that `text` means where they are all of one experiment: one run, or all its seeds.

    A folder's path, a label, a name, or digits of a signature, as for `resolve`; without `/seed-n`, all seeds that are
    not set aside. Raises StoreError for none, and for several experiments.
    """
    if at_path := _all_at_path(text):
        return at_path
    word, _, seed = text.strip("/").partition("/")
    every = every_summary(runs)
    chosen = [run for run in _matching(every, word, seed) if seed or SEED.fullmatch(run.folder.path.name)]
    if not chosen:
        raise StoreError(_unknown(runs, text, every))
    experiments = sorted({run.folder.path.parent.name for run in chosen})
    if len(experiments) > 1:
        raise StoreError(f"{text!r} means {len(experiments)} experiments: {_listed(experiments)}. Name one of them.")
    return [run.folder for run in sorted(chosen, key=lambda run: run.seed)]


def _at_path(text: str) -> RunFolder | None:
    """The run whose folder `text` is, or the only run of the experiment whose folder it is."""
    found = _all_at_path(text)
    return _the_only(text, found) if found else None


def _all_at_path(text: str) -> list[RunFolder]:
    """The run whose folder `text` is, or all runs of the experiment whose folder it is."""
    if not text:
        return []
    try:
        path = Path(text) if not {".", ".."} & set(text.split("/")) else Path(text).resolve()
        if is_run(RunFolder(path)):
            return [RunFolder(path)]
        return [
            RunFolder(file.parent) for file in sorted(path.glob("seed-*/run.json")) if SEED.fullmatch(file.parent.name)
        ]
    except (OSError, ValueError):  # no path: too long, a NUL in it, a folder that may not be read
        return []


def _matching(known: Sequence[Summary], experiment: str, seed: str) -> list[Summary]:
    """The runs that the words mean, by the strongest meaning that any run has: folder, then name, then signature."""
    meanings: tuple[Callable[[Summary], bool], ...] = (
        lambda run: run.folder.path.parent.name == experiment,
        lambda run: run.name == experiment,
        lambda run: DIGITS.fullmatch(experiment) is not None and run.signature.startswith(experiment.lower()),
    )
    for means in meanings:
        if found := [run for run in known if means(run) and (run.folder.path.name == seed or not seed)]:
            return found
    return []


def _the_only(text: str, found: Sequence[RunFolder]) -> RunFolder:
    if len(found) == 1:
        return found[0]
    raise StoreError(
        f"{text!r} means {len(found)} runs: {_listed([folder.label for folder in found])}. Name one of them "
        "in full, or by enough digits of its signature; /seed-0 behind either chooses the seed."
    )


def _listed(labels: Sequence[str]) -> str:
    more = f", and {len(labels) - LISTED} more" if len(labels) > LISTED else ""
    return f"{', '.join(labels[:LISTED])}{more}"


def _unknown(runs: Path, text: str, known: Sequence[Summary]) -> str:
    if not known:
        return f"no run {_short(text)!r}: there are no runs in {str(runs)!r}. Name another folder with --runs DIR."
    words = {word for run in known for word in (run.label, run.folder.path.parent.name, run.name)}
    close = nearest(text, words)
    hint = f"did you mean {close!r}? " if close else ""
    many = f"{len(known):,} run{'s' * (len(known) > 1)}"
    if _is_folder(text):
        hint = "there is such a folder, and it is not a run's, for it has no run.json. "
    return (
        f"no run {_short(text)!r} in {str(runs)!r} ({many}): {hint}A run is named by its folder, its label, "
        "its name or four or more digits of its signature; 'shoal ls' lists them."
    )


def _is_folder(text: str) -> bool:
    try:
        return "/" in text.strip("/") and Path(text).is_dir()
    except (OSError, ValueError):
        return False


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
