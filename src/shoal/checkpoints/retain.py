"""Keep the newest checkpoints, remove the rest, and clear away what a killed process left half-done."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from shoal.store.checkpoint_files import candidates

LEFTOVER = re.compile(r"step-\d{8,}\.(tmp-\d+|del)")
KEEP = 2
"""Checkpoints that are always kept: should the newest turn out damaged, there is one before it."""


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the `keep` newest, 2 at least; each is renamed first, so that it is never seen half-removed."""
    for folder in candidates(checkpoints)[max(keep, KEEP) :]:
        doomed = folder.with_name(f"{folder.name}.del")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def sweep(checkpoints: Path) -> None:
    """Remove half-written and half-removed folders; only for the process that holds the run's lock."""
    if not checkpoints.is_dir():
        return
    for path in checkpoints.iterdir():
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint out of the way of a new one of the same step; nothing is deleted."""
    aside = folder.with_name(f"{folder.name}.damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{folder.name}.damaged-{number}")
    return folder.rename(aside)
