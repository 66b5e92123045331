"""Keep the newest checkpoints, remove the rest, and clear away what a killed process left half-done."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shoal.errors import CheckpointError
from shoal.store.checkpoint_files import candidates, manifest_of

LEFTOVER = re.compile(r"step-\d{8,}\.(tmp-\d+|del)")
KEEP = 2
"""Checkpoints that are always kept: should the newest turn out damaged, there is one before it."""


def prune(checkpoints: Path, keep: int, *, also: str | None = None) -> None:
    """Remove all but the `keep` newest, 2 at least; of those with the key `also`, two and the oldest are kept too."""
    every = candidates(checkpoints)
    older = every[max(keep, KEEP) :]
    if also is not None and older:
        marked = [folder for folder in every if _has(folder, also)]
        older = [folder for folder in older if folder not in (*marked[:KEEP], *marked[-1:])]
    for folder in older:
        _remove(folder)


def drop(checkpoints: Path, unwanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Remove checkpoints by what their manifests say; what is damaged is left to be found so."""
    for folder in candidates(checkpoints):
        try:
            manifest = manifest_of(folder)
        except CheckpointError:
            continue
        if unwanted(manifest):
            _remove(folder)


def _has(folder: Path, key: str) -> bool:
    try:
        return key in manifest_of(folder)
    except CheckpointError:
        return False


def _remove(folder: Path) -> None:
    """Remove a checkpoint, renamed first, so that it is never seen half-removed."""
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
