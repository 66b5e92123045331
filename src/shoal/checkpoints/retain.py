"""Keep the newest checkpoints, remove the rest, and clear away what a killed process left half-done."""

from __future__ import annotations

import shutil
from pathlib import Path

from shoal.checkpoints.load import candidates

LEFTOVERS = (".tmp-", ".del")


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the `keep` newest; each is renamed first, so that it is never seen half-removed."""
    for folder in candidates(checkpoints)[max(keep, 2) :]:
        doomed = folder.with_name(f"{folder.name}.del")
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def sweep(checkpoints: Path) -> None:
    """Remove half-written and half-removed folders; only for the process that holds the run's lock."""
    if not checkpoints.is_dir():
        return
    for path in checkpoints.iterdir():
        if any(mark in path.name for mark in LEFTOVERS):
            shutil.rmtree(path, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint out of the way of a new one of the same step; nothing is deleted."""
    aside = folder.with_name(f"{folder.name}.damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{folder.name}.damaged-{number}")
    return folder.rename(aside)
