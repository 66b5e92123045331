"""Files that are whole or absent: atomic writes, durable appends, checksums, names that are safe as paths.

Not for run folders (that is `store`) nor for checkpoints (`checkpoints`): only what both stand on. A file written
here is never seen half-written, and a name accepted here cannot leave the folder that it is put in.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from shoal.errors import InputError, StoreError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LONGEST = 255
"""Bytes that the name of a file can have."""
UNSEEN = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters beyond ASCII's own controls that act on a terminal, turn the direction of text, or cannot be encoded."""


def safe_name(name: str, what: str = "name") -> str:
    """Return `name` if it can stand as one folder name anywhere, else raise InputError.

    >>> safe_name("mnist_cnn")
    'mnist_cnn'
    """
    if not SAFE_NAME.fullmatch(name):
        shown = name if len(name) <= 60 else f"{name[:57]}... ({len(name)} characters)"
        raise InputError(
            f"{what} {shown!r} cannot name a folder: expected 1 to 100 letters, digits, '.', '_' or '-', "
            "the first a letter or a digit. Choose another, for example name=my-run."
        )
    return name


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that readers see the old file or the new one, never a part of it."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def set_beside(path: Path) -> Path:
    """Copy a file to `<name>.aside-1`, or the next number that is free, and return the copy.

    A copy that has the same bytes already is the one: what is interrupted and done again makes no second.
    """
    content, number = path.read_bytes(), 1
    while (beside := path.with_name(f"{path.name}.aside-{number}")).exists() and beside.read_bytes() != content:
        number += 1
    if not beside.exists():
        write_atomic(beside, content)
    return beside


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yield a path beside `path` to write to; when the block ends well it becomes `path`, else nothing of it stays."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def to_json(value: Any, *, indent: int | None = None) -> str:
    r"""Return `value` as strict JSON: NaN and infinities become null, since JSON has no word for them.

    Characters that would act on whoever prints it are written as JSON's codes for them.

    >>> print(to_json({"é": "\u202e"}))
    {"é": "\u202e"}
    """
    text = json.dumps(_finite(value), indent=indent, allow_nan=False, ensure_ascii=False)
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast(list[Any], value)]
    return value


def size(count_bytes: int) -> str:
    """Return a number of bytes.

    >>> [size(v) for v in (512, 1_250_000, 3_000_000_000)]
    ['512 B', '1.2 MB', '3.0 GB']
    """
    if count_bytes < 1000:
        return f"{count_bytes} B"
    value, units = count_bytes / 1000, ("kB", "MB", "GB")
    for unit in units:
        if value < 999.95:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in place of its `~`; raises InputError for what can be no path."""
    try:
        if "\0" in str(path):
            raise ValueError("it has a NUL character")
        found = Path(path).expanduser()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{str(path)!r} can be no path: {str(error).rstrip('.')}.") from error
    if any(len(os.fsencode(part)) > LONGEST for part in found.parts):
        raise InputError(f"{str(path)!r} can be no path: a name in it has more than {LONGEST} bytes.")
    return found


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def writable_folder(folder: Path, *, needed_bytes: int = 1_000_000) -> Path:
    """Create `folder` where it is missing and prove that files can be written there, before any work is done.

    Raises StoreError that names the folder and the cause: its parent is a file, it is read-only, its disk is full.
    """
    try:
        _make(folder)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise StoreError(f"cannot write to the folder {str(folder)!r}: {why(error, folder)}") from error
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise StoreError(
            f"the disk of {str(folder)!r} has {size(free)} free and this run needs about {size(needed_bytes)}: make "
            "room, or choose another disk with --runs DIR."
        )
    return folder


def _make(folder: Path) -> None:
    """Make a folder and those above it; a place such as /proc takes none, and says that something is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        there = next(place for place in folder.absolute().parents if place.exists())
        raise StoreError(
            f"cannot make the folder {str(folder)!r}: {str(there)!r} takes no new folders ({error.strerror}). Choose "
            "another with --runs DIR."
        ) from error


def why(error: OSError, folder: Path) -> str:
    """Return why a folder of runs could not be written to, and what to do, as sentences that follow a colon.

    >>> why(OSError(errno.EIO, "Input/output error"), Path("runs"))
    'Input/output error. Choose another folder with --runs DIR.'
    """
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        blocking = next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), folder)
        return f"{str(blocking)!r} is a file, not a folder. Choose another with --runs DIR."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"it is read-only for this user ({error.strerror}). Choose another with --runs DIR."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        there = next(place for place in (folder, *folder.resolve().parents) if place.exists())
        free = shutil.disk_usage(there).free
        room = f"Its disk has {size(free)} free: make room there, or choose another with --runs DIR."
        return f"{error.strerror}. {room}"
    if error.errno == errno.EFBIG:
        return f"files may not become that large ({error.strerror}). Raise the limit (ulimit -f), or that of the disk."
    if error.errno in (errno.ENOENT, errno.ESTALE):
        return f"it is not there any more ({error.strerror}). Was it removed or renamed?"
    return f"{error.strerror}. Choose another folder with --runs DIR."
