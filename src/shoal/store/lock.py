"""One writer a run: a POSIX record lock (`lockf`) on a file kept open for the life of the run.

`lockf` and not `flock`: after SIGKILL of the owner a forked worker that is still alive keeps a `flock` held, and the
run could not be resumed. The price is that closing *any* descriptor of the file drops the lock of the process. So the
file is opened here and nowhere else, and a process that holds a lock answers about it from a registry, by inode
(which a rename of the folder leaves as it is), without opening the file again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from shoal.errors import LiveRunError, StoreError
from shoal.store.layout import RunFolder

PATIENCE_SECONDS = 0.3
"""How long `acquire` tries: a probe (`is_live`) by another process holds a shared lock for an instant."""

Inode = tuple[int, int]
_held: dict[Inode, dict[str, Any]] = {}
_notes: dict[Inode, dict[str, Any]] = {}
_guard = threading.RLock()


class RunLock:
    """The right to write into one run's folder; ended by `release`, by leaving `with`, and by the process's death."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._handle: int | None = None
        self._inode: Inode = (0, 0)
        self._pid = 0

    def acquire(self) -> None:
        """Take the lock and write the owner into its file; raises LiveRunError that names the present owner."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._try():
            if time.monotonic() > deadline:
                raise LiveRunError(refusal(self.folder))
            time.sleep(0.01)

    def release(self) -> None:
        """Give the lock back; does nothing where it is not held, or in a forked child of the holder."""
        if self._handle is None or self._pid != os.getpid():
            return
        with _guard:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
            _held.pop(self._inode, None)
            _notes.pop(self._inode, None)

    def _try(self) -> bool:
        with _guard:
            if _inode(self.folder.lock) in _held:
                return False
            handle = _open(self.folder)
            try:
                taken = _lock(handle, fcntl.LOCK_EX, self.folder) and _still_there(handle, self.folder.lock)
                if taken:
                    self._keep(handle)
            except BaseException:
                os.close(handle)
                raise
            if not taken:
                os.close(handle)
            return taken

    def _keep(self, handle: int) -> None:
        status = os.fstat(handle)
        owned = {"host": os.uname().nodename, "pid": os.getpid(), "started": _now()}
        line = json.dumps(owned).encode() + b"\n"
        os.ftruncate(handle, 0)
        os.pwrite(handle, line, 0)
        self._handle, self._inode, self._pid = handle, (status.st_dev, status.st_ino), os.getpid()
        _held[self._inode], _notes[self._inode] = owned, {}

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_live(folder: RunFolder) -> bool:
    """Return whether a process, this one or another, is writing into the folder.

    Where the file system cannot tell (no lock service, no permission) the answer is True: the safe side.
    """
    with _guard:
        inode = _inode(folder.lock)
        if inode is None:
            return False
        if inode in _held:
            return True
        try:
            handle = os.open(folder.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        try:
            return not _lock(handle, fcntl.LOCK_SH, folder)
        except StoreError:
            return True
        finally:
            os.close(handle)


def held_here(folder: RunFolder) -> bool:
    """Return whether this very process (or, in a forked child, its parent) holds the lock."""
    with _guard:
        return _inode(folder.lock) in _held


def notes(folder: RunFolder) -> dict[str, Any] | None:
    """Return what the holder of the lock remembers of the run, to be written to; None where it is not this process."""
    with _guard:
        inode = _inode(folder.lock)
        return _notes.get(inode) if inode is not None else None


def owner(folder: RunFolder) -> dict[str, Any] | None:
    """Return host, pid and start time of the owner, or of the last one where it died without releasing; else None."""
    with _guard:
        inode = _inode(folder.lock)
        if inode is None or inode in _held:
            return None if inode is None else dict(_held[inode])
        try:
            found: Any = json.loads(folder.lock.read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType]


def refusal(folder: RunFolder) -> str:
    """Return the sentence for a run that another process trains: which one, where, since when, and what to do."""
    found = owner(folder)
    if found is None:
        return f"the run {folder.label} is being trained by another process: wait for it to end."
    host, pid = found.get("host"), found.get("pid")
    place = "" if host == os.uname().nodename else f" on {host}"
    return (
        f"the run {folder.label} is being trained by process {pid} on {host} since {found.get('started')}. "
        f"Watch it with 'shoal logs -f {shlex.quote(str(folder.path))}', or stop it with 'kill {pid}'{place}: "
        "it saves a checkpoint, and the same command resumes it."
    )


def _inode(path: Path) -> Inode | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(folder: RunFolder) -> int:
    try:
        return os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise StoreError(
            f"cannot open the lock of the run {folder.label} ({str(folder.lock)!r}): {error.strerror}. "
            "Was the folder removed or made read-only? Start the run again, or choose another folder with --runs DIR."
        ) from error


def _lock(handle: int, kind: int, folder: RunFolder) -> bool:
    try:
        fcntl.lockf(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise StoreError(
            f"the file system of {str(folder.path)!r} cannot lock files ({error.strerror}), so two processes could "
            "train one run: choose a folder on another file system with --runs DIR."
        ) from error
    return True


def _still_there(handle: int, path: Path) -> bool:
    """Between opening and locking, the folder may have been removed or set aside by its last owner."""
    status = os.fstat(handle)
    return _inode(path) == (status.st_dev, status.st_ino)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
