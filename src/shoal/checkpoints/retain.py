"""Keep the newest checkpoints, remove the rest, and clear away what a killed process left half-done.

step-00001200.tmp-<pid>    half-written
step-00001200.was          whole, on its way out: another checkpoint of its step takes its name
step-00001200.del          half-removed
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shoal.errors import CheckpointError
from shoal.store.checkpoint_files import candidates, manifest_of

LEFTOVER = re.compile(r"step-\d{8,}\.(tmp-\d+|del)")
WAS = ".was"
STOOD = re.compile(rf"step-\d{{8,}}\{WAS}")
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
        remove(folder)


def drop(checkpoints: Path, unwanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Remove checkpoints by what their manifests say; what is damaged is left to be found so."""
    for folder in candidates(checkpoints):
        try:
            manifest = manifest_of(folder)
        except CheckpointError:
            continue
        if unwanted(manifest):
            remove(folder)


def _has(folder: Path, key: str) -> bool:
    try:
        return key in manifest_of(folder)
    except CheckpointError:
        return False


def put_in_place(temporary: Path, target: Path) -> Path | None:
    """Rename a checkpoint that was written to its name; return where the one is that had the name, or None.

    At no instant is there neither of them, once `sweep` has been over what a killed process left.
    """
    stood = target.with_suffix(WAS)
    if not target.exists():
        temporary.rename(target)
        return None
    if stood.exists():
        remove(stood)
    target.rename(stood)
    try:
        temporary.rename(target)
    except OSError:
        stood.rename(target)
        raise
    return stood


def remove(folder: Path) -> None:
    """Remove a checkpoint, renamed first, so that it is never seen half-removed."""
    doomed = folder.with_suffix(".del")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(checkpoints: Path) -> None:
    """Remove half-written and half-removed folders; only for the process that holds the run's lock.

    A checkpoint whose name was to be another's, and is nobody's, gets it back.
    """
    if not checkpoints.is_dir():
        return
    for path in list(checkpoints.iterdir()):
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif STOOD.fullmatch(path.name):
            if path.with_suffix("").exists():
                remove(path)
            else:
                path.rename(path.with_suffix(""))


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint out of the way of a new one of the same step; nothing is deleted."""
    aside = folder.with_name(f"{folder.name}.damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{folder.name}.damaged-{number}")
    return folder.rename(aside)
