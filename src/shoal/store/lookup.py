"""The run that a person means by a few words: a path, a label, a name, some digits of a signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from shoal.errors import StoreError, nearest
from shoal.store.catalog import Summary, folders_in, summary_of
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
    every = [summary for folder in folders_in(runs) if (summary := summary_of(folder))]
    chosen = _matching(every, experiment, seed)
    if not seed:
        chosen = [run for run in chosen if SEED.fullmatch(run.folder.path.name)]
    if leave_out is not None:
        every = [run for run in every if run not in chosen or not leave_out(run.folder)]
        chosen = [run for run in chosen if run in every]
    if not chosen:
        raise StoreError(_unknown(runs, text, every))
    return _the_only(text, sorted((run.folder for run in chosen), key=lambda folder: folder.label))


def _at_path(text: str) -> RunFolder | None:
    """The run whose folder `text` is, or the only run of the experiment whose folder it is."""
    if not text:
        return None
    try:
        path = Path(text) if not {".", ".."} & set(text.split("/")) else Path(text).resolve()
        if is_run(RunFolder(path)):
            return RunFolder(path)
        seeds = [file.parent for file in sorted(path.glob("seed-*/run.json")) if SEED.fullmatch(file.parent.name)]
    except (OSError, ValueError):  # no path: too long, a NUL in it, a folder that may not be read
        return None
    return _the_only(text, [RunFolder(seed) for seed in seeds]) if seeds else None


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
    labels = [folder.label for folder in found]
    more = f", and {len(labels) - LISTED} more" if len(labels) > LISTED else ""
    raise StoreError(
        f"{text!r} means {len(labels)} runs: {', '.join(labels[:LISTED])}{more}. Name one of them "
        "in full, or by enough digits of its signature; /seed-0 behind either chooses the seed."
    )


def _unknown(runs: Path, text: str, known: Sequence[Summary]) -> str:
    if not known:
        return f"no run {_short(text)!r}: there are no runs in {str(runs)!r}. Name another folder with --runs DIR."
    words = {word for run in known for word in (run.label, run.folder.path.parent.name, run.name)}
    close = nearest(text, words)
    hint = f"did you mean {close!r}? " if close else ""
    many = f"{len(known):,} run{'s' * (len(known) > 1)}"
    return (
        f"no run {_short(text)!r} in {str(runs)!r} ({many}): {hint}A run is named by its folder, its label, "
        "its name or four or more digits of its signature; 'shoal ls' lists them."
    )


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
