"""The folder of one run: found by identity, created once, set aside, removed. Never overwritten.

Identity is signature and seed: a folder answers to them whatever the name in front of the signature is, and a folder
that a person renamed answers through its record. Nothing here follows a link out of the runs folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from shoal import files
from shoal.errors import LiveRunError, StoreError
from shoal.store import lock, record
from shoal.store.layout import EXPERIMENT, FILES, PREFIX, SEED, SIGNATURE, RunFolder, RunId

HALF_WRITTEN = re.compile(r"\.((?P<file>.+)\.tmp-\d+|probe-.+)")
"""What `files` writes on the way to a whole file, and to find out whether it can."""
BESIDE = re.compile(r"(?P<file>.+)\.(torn|aside-\d+)")
"""What was cut from a file, and files as they were found that were no longer what a training wrote."""
_creating = threading.Lock()


def find(runs: Path, signature: str, seed: int) -> RunFolder | None:
    """Return the folder of this signature and seed, or None; raises StoreError where its record is damaged."""
    for experiment in _experiments(runs, signature):
        folder = RunFolder(experiment / f"seed-{seed}")
        if folder.path.is_dir() and _answers(folder, signature):
            return _inside(runs, folder)
    return None


def create(runs: Path, run: RunId) -> RunFolder:
    """Return the folder of a run, made where there is none; processes that create it at once all get the same one.

    Raises InputError for a name that cannot be a folder's, StoreError for a link that leads out of the runs folder.
    """
    files.safe_name(run.name)
    assert SIGNATURE.fullmatch(run.signature) and run.seed >= 0, f"no identity of a run: {run}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        if not any(runs.iterdir()):
            _keep_out_of_git(runs)
        with _one_at_a_time(runs):
            return find(runs, run.signature, run.seed) or _make(runs, run)
    except OSError as error:
        raise StoreError(
            f"cannot create the folder of the run {run.label} in {str(runs)!r}: {error.strerror}. "
            "Choose another folder with --runs DIR."
        ) from error


def set_aside(folder: RunFolder) -> Path:
    """Rename `seed-3` to `seed-3.aside-1` (the next free number) and return the new path; nothing is deleted.

    Raises LiveRunError where another process is training the run. Its own lock a process may keep.
    """
    if lock.is_live(folder) and not lock.held_here(folder):
        raise LiveRunError(lock.refusal(folder))
    number = 1
    while True:
        target = folder.path.with_name(f"{folder.path.name}.aside-{number}")
        number += 1
        if target.exists() or target.is_symlink():
            continue
        try:
            folder.path.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue
            raise StoreError(f"cannot set {str(folder.path)!r} aside as {target.name!r}: {error.strerror}.") from error
        files.sync_folder(target.parent)
        return target


def sweep(folder: RunFolder) -> None:
    """Remove what a process that was killed left half-written; for the holder of the run's lock."""
    for path in [*folder.path.glob(".*"), *folder.samples.glob(".*.tmp-*")]:
        if path.parent == folder.samples or _is_half_written(path):
            path.unlink(missing_ok=True)


def _is_half_written(path: Path) -> bool:
    match = HALF_WRITTEN.fullmatch(path.name)
    return match is not None and (match["file"] is None or match["file"] in FILES)


def remove(folder: RunFolder) -> None:
    """Delete a run's folder, and that of its experiment where nothing else is in it.

    Raises LiveRunError for a run that is being trained, StoreError for a folder that is no run's. It disappears under
    its name at once, so that a removal that is interrupted leaves no half of a run.
    """
    refuse_removal(folder)
    doomed = folder.path.with_name(f".{folder.path.name}.removed-{os.getpid()}")
    with lock.RunLock(folder):
        folder.path.rename(doomed)
        shutil.rmtree(doomed)
    try:
        folder.path.parent.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def refuse_removal(folder: RunFolder) -> None:
    """Raise StoreError for a folder that is no run's, or that this user may not delete."""
    if folder.path.is_symlink() or not _is_ours(folder):
        raise StoreError(f"{str(folder.path)!r} is not the folder of a run: nothing was removed.")
    for place in (folder.path.parent, folder.path):
        if not os.access(place, os.W_OK | os.X_OK):
            raise StoreError(
                f"the run {folder.label} cannot be removed, for {str(place)!r} is read-only for this user: nothing was "
                "removed. Allow writing there (chmod u+w, or mount its disk for writing), or let its owner remove it."
            )


def is_run(folder: RunFolder) -> bool:
    """Return whether the folder is a run's: it has a record, or lies where a run is created and has none yet."""
    if folder.record.is_file():
        return True
    made = EXPERIMENT.fullmatch(folder.path.absolute().parent.name) and SEED.match(folder.path.name)
    return bool(made) and folder.path.is_dir()


def _is_ours(folder: RunFolder) -> bool:
    """Whether a folder may be deleted as a run: its record says what it is, or all that is in it has a run's names."""
    try:
        if record.read(folder).get("signature"):
            return True
    except StoreError:
        pass
    return is_run(folder) and all(_is_of_a_run(path) for path in folder.path.iterdir())


def _is_of_a_run(path: Path) -> bool:
    beside = BESIDE.fullmatch(path.name)
    return (beside["file"] if beside else path.name) in FILES or _is_half_written(path)


def _experiments(runs: Path, signature: str) -> Iterator[Path]:
    """Folders that may hold the experiment: named after it first, then those whose name shows no signature."""
    try:
        names = sorted(entry.name for entry in os.scandir(runs) if not entry.name.startswith(".") and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise StoreError(unreadable(runs, error)) from error
    shown = {name: EXPERIMENT.fullmatch(name) for name in names}
    yield from (runs / name for name, match in shown.items() if match and signature.startswith(match["prefix"]))
    yield from (runs / name for name, match in shown.items() if match is None)


def _answers(folder: RunFolder, signature: str) -> bool:
    """Whether a folder is that of `signature`: by its record; before it has one, by its name and its siblings'."""
    named = EXPERIMENT.fullmatch(folder.path.parent.name) is not None
    try:
        stated = record.read(folder).get("signature")
    except StoreError:
        if named:
            raise
        return False
    if stated is None:
        return named and _stated(folder.path.parent) in (None, signature)
    return stated == signature


def _stated(experiment: Path) -> str | None:
    """The full signature that the records in an experiment's folder state; None where there is no record yet."""
    for path in sorted(experiment.glob("seed-*/run.json")):
        stated = record.read(RunFolder(path.parent)).get("signature")
        if stated is not None:
            return str(stated)
    return None


def _make(runs: Path, run: RunId) -> RunFolder:
    """Make the folder; where another experiment has the same name and first digits, with more of them."""
    for digits in range(PREFIX, len(run.signature) + 1):
        experiment = runs / f"{run.name}-{run.signature[:digits]}"
        if experiment.exists() and _stated(experiment) not in (None, run.signature):
            continue
        experiment.mkdir(exist_ok=True)
        folder = _inside(runs, RunFolder(experiment / f"seed-{run.seed}"))
        folder.path.mkdir(exist_ok=True)
        for made in (experiment, runs):
            files.sync_folder(made)
        return folder
    raise StoreError(f"the records in {str(runs / run.name)!r}-* state signatures that are not those of their folders.")


def unreadable(runs: Path, error: Exception) -> str:
    """Return the sentence for a runs folder that cannot be read: no permission, a name that no folder can have."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot read the runs folder {str(runs)!r}: {why}. Choose another with --runs DIR."


def lies_in(runs: Path, path: Path) -> bool:
    """Return whether a path lies in the runs folder, wherever links lead."""
    return path.resolve().is_relative_to(runs.resolve())


def _inside(runs: Path, folder: RunFolder) -> RunFolder:
    """Refuse a folder that is not in the runs folder, or one of whose files is elsewhere: they are written to."""
    links = filter(Path.is_symlink, folder.path.iterdir()) if folder.path.is_dir() else ()
    wrong = next((path for path in (folder.path, *links) if not lies_in(runs, path)), None)
    if wrong is not None:
        raise StoreError(
            f"{str(wrong)!r} is, or lies in, a link that leads out of the runs folder {str(runs)!r}: "
            "remove the link, or name the folder that it leads to with --runs DIR."
        )
    return folder


@contextmanager
def _one_at_a_time(runs: Path) -> Generator[None]:
    """Among threads and processes: two that make one experiment under two names would make two folders of it."""
    with _creating:
        handle = os.open(runs / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _keep_out_of_git(runs: Path) -> None:
    """Runs are results, not source: a folder made by Shoal ignores itself, and keeps out of `code.patch`."""
    (runs / ".gitignore").write_text("*\n")
