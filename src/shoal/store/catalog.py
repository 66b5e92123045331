"""Many runs: a summary of each, for lists.

Reads one small file a run, and the end of the history where a run is not finished; a thousand runs take a blink.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from shoal.errors import StoreError
from shoal.store import folder as folders
from shoal.store import record
from shoal.store.journal import latest
from shoal.store.layout import EXPERIMENT, SEED, SET_ASIDE, RunFolder

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
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    reason: str | None = None


def summaries(runs: Path) -> list[Summary]:
    """Return a summary of every run in the folder, by label; set-aside runs and folders of other things are left out.

    A missing folder has no runs; one that is a file or may not be read raises StoreError.
    """
    found = (summary_of(folder) for folder in folders_in(runs) if SEED.fullmatch(folder.path.name))
    return sorted((run for run in found if run), key=lambda run: (run.label.partition("/")[0], run.seed))


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
        for seed in seeds:
            if _is_plain_folder(seed) and (SEED.fullmatch(seed.name) or SET_ASIDE.fullmatch(seed.name)):
                yield RunFolder(Path(seed.path))


def _is_plain_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


def summary_of(folder: RunFolder) -> Summary | None:
    """Return the summary of a run; None for a folder that is no run."""
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
    label = folder.label
    name, signature, seed = _shown(label)
    return Summary(
        folder=folder,
        label=label,
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
    name, signature, seed = _shown(folder.label)
    return Summary(folder, folder.label, name, signature, seed, UNREADABLE, reason=reason)


def _shown(label: str) -> tuple[str, str, int]:
    """Name, digits of the signature and seed, as far as the folder's label shows them."""
    above, _, own = label.partition("/")
    named, numbered = EXPERIMENT.fullmatch(above), SEED.match(own)
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
