"""Folders of runs that get another place: one that was prepared elsewhere, one whose identity is another from now on.

At every instant a run is found by one identity, its old one or its new one; a process that is killed on the way leaves
a whole run, and the next `rehome` brings it home.

    digits-0edd5fe151ca/seed-0              found by its name
    digits-0edd5fe151ca.migrating/seed-0    found by its record, which states the old signature, then the new one
    digits-77ab01c9d3e4/seed-0              found by its name
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from shoal import files
from shoal.errors import StoreError
from shoal.store import record
from shoal.store.folder import find, one_at_a_time, place
from shoal.store.layout import EXPERIMENT, RunFolder, RunId

BETWEEN = ".migrating"
"""What the name of a folder ends in while its run changes its identity: it shows no signature, so the record counts."""


def between(folder: RunFolder) -> bool:
    """Return whether a process was killed while it gave the run another identity."""
    return folder.path.parent.name.endswith(BETWEEN)


def adopt(runs: Path, run: RunId, prepared: Path) -> RunFolder:
    """Let a folder that was prepared in the runs folder be that of a run; one that is there already stays as it is."""
    with one_at_a_time(runs):
        there = find(runs, run.signature, run.seed)
        if there is not None:
            return there
        target = place(runs, run)
        prepared.rename(target.path)
        for changed in (target.path.parent, runs):
            files.sync_folder(changed)
        return target


def rehome(runs: Path, folder: RunFolder, run: RunId, *, recipe_yaml: str, **changes: Any) -> RunFolder:
    """Give a run another identity, with `changes` to its record; return its folder. For the holder of its lock.

    A folder that a person has named keeps its name. Raises StoreError where there is a run of that identity already.
    """
    with one_at_a_time(runs):
        there = find(runs, run.signature, run.seed)
        if there is not None and not there.path.samefile(folder.path):
            raise StoreError(f"{folder.label} would become {there.label}, which is there already.")
        named = _is_named_by_us(runs, folder)
        if record.read(folder).get("signature") != run.signature:
            if named:
                folder = _moved(folder, _passage(folder))
            files.write_atomic(folder.recipe, recipe_yaml)
            record.update(folder, **changes, signature=run.signature)
        return _moved(folder, place(runs, run)) if named else folder


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file, or a folder of files, and have it on the disk."""
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            if path.is_file():
                copy_durably(path, target / path.name)
        files.sync_folder(target)
        return
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _is_named_by_us(runs: Path, folder: RunFolder) -> bool:
    """Whether the folder lies where Shoal put it, under a name that shows what the run was."""
    experiment = folder.path.parent
    shown = EXPERIMENT.fullmatch(experiment.name.removesuffix(BETWEEN))
    return shown is not None and experiment.resolve().parent == runs.resolve()


def _passage(folder: RunFolder) -> RunFolder:
    if between(folder):
        return folder
    experiment = folder.path.parent.with_name(f"{folder.path.parent.name}{BETWEEN}")
    experiment.mkdir(exist_ok=True)
    return RunFolder(experiment / folder.path.name)


def _moved(folder: RunFolder, target: RunFolder) -> RunFolder:
    """Rename a run's folder, and remove that of its experiment where nothing else is in it."""
    if target.path == folder.path:
        return folder
    folder.path.rename(target.path)
    for changed in (target.path.parent, folder.path.parent, target.path.parent.parent):
        files.sync_folder(changed)
    try:
        folder.path.parent.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    return target
