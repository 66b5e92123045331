"""Many runs: a summary of each for lists, and the run that a person means by a few words.

Reads one small file a run, and the end of the history where a run is not finished; a thousand runs take a blink.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from shoal.errors import StoreError, nearest
from shoal.store import folder as folders
from shoal.store import record
from shoal.store.journal import latest
from shoal.store.layout import EXPERIMENT, SEED, SET_ASIDE, RunFolder

UNREADABLE = "unreadable"
"""The status of a run whose record is damaged, or newer than this Shoal; `reason` says which."""
LISTED = 8
PREFIX_TEXT = re.compile(r"[0-9a-fA-F]{4,32}")


@dataclass(frozen=True)
class Summary:
    """What a list shows of one run; before the record has metrics, they are the latest in its history."""

    folder: RunFolder
    label: str
    name: str
    signature: str
    seed: int
    status: str
    steps: int = 0
    total_steps: int | None = None
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    reason: str | None = None


def summaries(runs: Path) -> list[Summary]:
    """Return a summary of every run in the folder, by label; set-aside runs and folders of other things are left out.

    A missing folder has no runs; one that is a file or may not be read raises StoreError.
    """
    found = (_summary(folder) for folder in _folders(runs) if SEED.fullmatch(folder.path.name))
    return sorted((run for run in found if run), key=lambda run: (run.folder.path.parent.name, run.seed))


def as_result(summary: Summary) -> dict[str, Any]:
    """Return a summary as `--json` prints a run; the same keys as `record.result`."""
    return {
        "run": summary.label,
        "signature": summary.signature,
        "seed": summary.seed,
        "status": summary.status,
        "folder": str(summary.folder.path),
        "steps": summary.steps,
        "metrics": summary.metrics,
    }


def resolve(runs: Path, text: str) -> RunFolder:
    """Return the run that `text` means: a folder's path, a label, a name, or four or more digits of a signature.

    `/seed-n` after a name or a signature chooses among seeds. Raises StoreError for none (with the nearest) and for
    more than one (with the candidates). Only a path leads out of `runs`: labels are compared, never joined.
    """
    if at_path := _at_path(text):
        return at_path
    experiment, _, seed = text.strip("/").partition("/")
    every = [summary for folder in _folders(runs) if (summary := _summary(folder))]
    chosen = _matching(every, experiment, seed)
    if not seed:
        chosen = [run for run in chosen if SEED.fullmatch(run.folder.path.name)]
    if not chosen:
        raise StoreError(_unknown(runs, text, every))
    return _the_only(text, sorted((run.folder for run in chosen), key=lambda folder: folder.label))


def _folders(runs: Path) -> Iterator[RunFolder]:
    """Every folder in the place of a run, set-aside ones too. Links are left out: they may lead anywhere."""
    try:
        experiments = [entry for entry in os.scandir(runs) if _is_plain_folder(entry)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(
            f"cannot read the runs folder {str(runs)!r}: {error.strerror}. Choose another with --runs DIR."
        ) from error
    for experiment in experiments:
        try:
            seeds = [entry for entry in os.scandir(experiment.path) if entry.name.startswith("seed-")]
        except OSError:
            continue
        for seed in seeds:
            if _is_plain_folder(seed) and (SEED.fullmatch(seed.name) or SET_ASIDE.fullmatch(seed.name)):
                yield RunFolder(Path(seed.path))


def _is_plain_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


def _summary(folder: RunFolder) -> Summary | None:
    try:
        known = record.read(folder)
    except StoreError as error:
        return _unreadable(folder, str(error))
    if not known and not folders.is_run(folder):
        return None
    status = record.status(folder, known)
    metrics, steps = _numbers(known.get("metrics")), _whole(known.get("steps")) or 0
    if status not in ("queued", "finished"):
        row = latest(folder.history)
        metrics = metrics or _numbers({key: value for key, value in row.items() if "." in key})
        steps = max(steps, _whole(row.get("step")) or 0)
    name, signature, seed = _shown(folder)
    return Summary(
        folder=folder,
        label=folder.label,
        name=_text(known.get("name")) or name,
        signature=_text(known.get("signature")) or signature,
        seed=seed,
        status=status,
        steps=steps,
        total_steps=_whole(known.get("total_steps")),
        metrics=metrics,
        started=_text(known.get("started")),
        finished=_text(known.get("finished")),
        seconds=_number(known.get("seconds")),
        reason=_text(known.get("reason")),
    )


def _unreadable(folder: RunFolder, reason: str) -> Summary:
    name, signature, seed = _shown(folder)
    return Summary(folder, folder.label, name, signature, seed, UNREADABLE, reason=reason)


def _shown(folder: RunFolder) -> tuple[str, str, int]:
    """Name, digits of the signature and seed, as far as the folder's path shows them."""
    above = folder.path.parent.name
    named, numbered = EXPERIMENT.fullmatch(above), SEED.match(folder.path.name)
    seed = int(numbered["seed"]) if numbered else 0
    return (named["name"], named["prefix"], seed) if named else (above, "", seed)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _numbers(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    items = cast(dict[str, Any], value).items()
    return {key: number for key, item in items if (number := _number(item)) is not None}


def _at_path(text: str) -> RunFolder | None:
    """The run whose folder `text` is, or the only run of the experiment whose folder it is."""
    if "\0" in text:
        return None
    path = Path(text) if not {".", ".."} & set(text.split("/")) else Path(text).resolve()
    folder = RunFolder(path)
    if folders.is_run(folder):
        return folder
    seeds = [file.parent for file in sorted(path.glob("seed-*/run.json")) if SEED.fullmatch(file.parent.name)]
    return _the_only(text, [RunFolder(seed) for seed in seeds]) if seeds else None


def _matching(known: Sequence[Summary], experiment: str, seed: str) -> list[Summary]:
    """The runs that the words mean, by the strongest meaning that any run has: folder, then name, then signature."""
    meanings: tuple[Callable[[Summary], bool], ...] = (
        lambda run: run.folder.path.parent.name == experiment,
        lambda run: run.name == experiment,
        lambda run: PREFIX_TEXT.fullmatch(experiment) is not None and run.signature.startswith(experiment.lower()),
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
        return f"no run {text!r}: there are no runs in {str(runs)!r}. Name another folder with --runs DIR."
    words = {word for run in known for word in (run.label, run.folder.path.parent.name, run.name)}
    close = nearest(text, words)
    hint = f"did you mean {close!r}? " if close else ""
    return (
        f"no run {text!r} in {str(runs)!r} ({len(known)} runs): {hint}A run is named by its folder, its label, its "
        "name or four or more digits of its signature; 'shoal ls' lists them."
    )
