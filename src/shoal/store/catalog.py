"""Many runs: a summary of each, for lists.

Reads the record and the notes of a run, and the end of its history where it is not finished; of files that are as they
were at an earlier list the index has what is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from shoal.errors import StoreError
from shoal.store import folder as folders
from shoal.store import notes, record
from shoal.store.index import Index, Look, afresh
from shoal.store.journal import latest
from shoal.store.layout import EXPERIMENT, PREFIX, SEED, SET_ASIDE, RunFolder
from shoal.store.sweeps import Sweep

UNREADABLE = "unreadable"
"""The status of a run whose record is damaged, or newer than this Shoal; `reason` says which."""


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
    steps_per_epoch: int | None = None
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    reason: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""


FACTS = (
    "name",
    "signature",
    "status",
    "steps",
    "total_steps",
    "steps_per_epoch",
    "metrics",
    "started",
    "finished",
    "seconds",
    "reason",
)
"""What is taken from a record."""


def summaries(runs: Path) -> list[Summary]:
    """Return a summary of every run in the folder, by label; set-aside runs and folders of other things are left out.

    A missing folder has no runs; one that is a file or may not be read raises StoreError.
    """
    found = (run for run in every_summary(runs) if SEED.fullmatch(run.folder.path.name))
    return sorted(found, key=lambda run: (run.label.partition("/")[0], run.seed))


def every_summary(runs: Path) -> list[Summary]:
    """Return a summary of every run in the folder, set-aside ones too, in any order."""
    index = Index(runs, [record.FORMAT, notes.FORMAT, list(FACTS)])
    every = list(folders_in(runs))
    index.ahead([f"{folder.path}/run.json" for folder in every])
    found = [run for folder in every if (run := summary_of(folder, index.look))]
    index.save()
    return found


def of_sweep(every: Iterable[Summary], sweep: Sweep) -> list[Summary]:
    """Return the runs that a sweep wants, or wanted; a run without a record is known by its folder's name."""
    wanted: dict[tuple[int, str], list[str]] = {}
    for point in sweep.points:
        wanted.setdefault((point.seed, point.signature[:PREFIX]), []).append(point.signature)
    return [
        run
        for run in every
        if any(full.startswith(run.signature) for full in wanted.get((run.seed, run.signature[:PREFIX]), ()))
    ]


def as_result(summary: Summary) -> dict[str, Any]:
    """Return a summary as `--json` prints a run: the keys of `record.result`, and why a run cannot be read."""
    reason = {"reason": summary.reason} if summary.status == UNREADABLE else {}
    return {
        "run": summary.label,
        "signature": summary.signature,
        "seed": summary.seed,
        "status": summary.status,
        "folder": str(summary.folder.path),
        "steps": summary.steps,
        "metrics": summary.metrics,
        **reason,
        **notes.shown(summary.tags, summary.note),
    }


def folders_in(runs: Path) -> Iterator[RunFolder]:
    """Yield every folder in the place of a run, set-aside ones too. Links are left out: they may lead anywhere."""
    try:
        experiments = [entry for entry in os.scandir(runs) if _is_plain_folder(entry)]
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise StoreError(folders.unreadable(runs, error)) from error
    for experiment in experiments:
        try:
            seeds = [entry for entry in os.scandir(experiment.path) if entry.name.startswith("seed-")]
        except OSError:
            continue
        above = Path(experiment.path)
        for seed in seeds:
            if _is_plain_folder(seed) and (SEED.fullmatch(seed.name) or SET_ASIDE.fullmatch(seed.name)):
                yield RunFolder(above / seed.name)


def _is_plain_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


def summary_of(folder: RunFolder, look: Look = afresh) -> Summary | None:
    """Return the summary of a run; None for a folder that is no run."""
    own = str(folder.path)
    try:
        known = look(f"{own}/run.json", _facts)
        if not known and not folders.is_run(folder):
            return None
        status = record.status(folder, known)
        if status == "killed":  # or it ended since the record was read, or a file system told of it late
            known = _facts(folder.record)
            status = record.status(folder, known)
        metrics, steps = _numbers(known.get("metrics")), _whole(known.get("steps")) or 0
        if status not in ("queued", "finished"):
            record.check_files(folder.history, folder.lock)
            row = look(f"{own}/history.jsonl", latest)
            metrics = metrics or _numbers({key: value for key, value in row.items() if "." in key})
            steps = max(steps, _whole(row.get("step")) or 0)
    except StoreError as error:
        return _unreadable(folder, str(error))
    label = folder.label
    name, signature, seed = _shown(label)
    said = notes.parsed(look(f"{own}/notes.json", notes.content))
    return Summary(
        folder=folder,
        label=label,
        name=_text(known.get("name")) or name,
        signature=_text(known.get("signature")) or signature,
        seed=seed,
        status=status,
        steps=steps,
        total_steps=_whole(known.get("total_steps")),
        steps_per_epoch=_whole(known.get("steps_per_epoch")),
        metrics=metrics,
        started=_text(known.get("started")),
        finished=_text(known.get("finished")),
        seconds=_number(known.get("seconds")),
        reason=_text(known.get("reason")),
        tags=said.tags,
        note=said.note,
    )


def _facts(path: Path) -> dict[str, Any]:
    known = record.read_file(path)
    return {fact: known[fact] for fact in FACTS if fact in known}


def _unreadable(folder: RunFolder, reason: str) -> Summary:
    name, signature, seed = _shown(folder.label)
    return Summary(folder, folder.label, name, signature, seed, UNREADABLE, reason=reason)


def _shown(label: str) -> tuple[str, str, int]:
    """Name, digits of the signature and seed, as far as the folder's label shows them."""
    above, _, own = label.partition("/")
    numbered = SEED.match(own)
    return *_named(above), int(numbered["seed"]) if numbered else 0


@lru_cache
def _named(experiment: str) -> tuple[str, str]:
    named = EXPERIMENT.fullmatch(experiment)
    return (named["name"], named["prefix"]) if named else (experiment, "")


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
    return {key: item for key, item in items if type(item) is float or type(item) is int}
