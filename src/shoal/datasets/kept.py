"""A folder of files that are made once and kept in the cache, whole and checked, or made again.

A kept folder is named by a digest of what was asked for. It is built under a temporary name and renamed into place, so
a build that was killed leaves nothing that could be taken for a whole one; its manifest has the size and SHA-256 of
each file, which are checked at every use. Processes that want the same folder at once wait for the one that builds it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from shoal.errors import DataError
from shoal.files import sha256_file, size, sync_folder, to_json, write_atomic

MANIFEST = "manifest.json"
SPARE_BYTES = 64 << 20
"""Left free on the disk beside what is to be written."""


@dataclass(frozen=True)
class Kept:
    """A folder in the cache, what its builder recorded about it, and a sentence where it had to be made again."""

    path: Path
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Return where Shoal keeps what can be made again: $SHOAL_CACHE, else shoal in the user's cache folder."""
    chosen = os.environ.get("SHOAL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "shoal"


def key_of(asked: Mapping[str, Any], source: Iterable[str]) -> str:
    """Return the name of a kept folder: 32 hex digits that stand for what is asked of which source."""
    found = sha256(json.dumps(asked, sort_keys=True).encode())
    for line in source:
        found.update(b"\n" + line.encode(errors="surrogateescape"))
    return found.hexdigest()[:32]


def kept(kind: str, key: str, build: Callable[[Path], Mapping[str, Any]]) -> Kept:
    """Return the folder of a key, from the cache or built now.

    `build` writes files into the folder it is given and returns plain facts to be recorded. Raises DataError where the
    cache cannot be written.
    """
    entry = cache_folder() / kind / key
    facts, _ = _checked(entry)
    if facts is not None:
        return Kept(entry, facts)
    with _writing(entry.parent), _locked(entry):
        facts, trouble = _checked(entry)  # another process may have built it meanwhile
        if facts is None:
            facts = _built(entry, build)
    notes = [f"{entry} was damaged ({trouble}) and has been made again"] if trouble else []
    return Kept(entry, facts, tuple(notes))


def ensure_space(folder: Path, needed_bytes: int) -> None:
    """Raise DataError where the disk of a folder has too little room, before anything is written."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES:
        raise DataError(
            f"the cache in {cache_folder()} needs {size(needed_bytes)} and its disk has {size(free)} "
            "free. Make room, ask for smaller pictures (dataset.size), or choose another disk: SHOAL_CACHE=DIR."
        )


def _checked(entry: Path) -> tuple[dict[str, Any] | None, str | None]:
    """The facts of a folder that is whole; else None, and what is wrong where something is there."""
    try:
        manifest = cast(dict[str, Any], json.loads((entry / MANIFEST).read_bytes()))
        for name, about in manifest["files"].items():
            if (entry / name).stat().st_size != about["bytes"] or sha256_file(entry / name) != about["sha256"]:
                return None, f"{name} is not what was written"
        return manifest["facts"], None
    except FileNotFoundError as error:
        return None, f"{Path(error.filename).name} is missing" if entry.exists() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"{MANIFEST}: {type(error).__name__}"


def _built(entry: Path, build: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    for left in entry.parent.glob(f"{entry.name}.part-*"):  # of a build that was killed: nobody else has the lock
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{entry.name}.part-", dir=entry.parent))
    try:
        facts = build(made)
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for file in sorted(made.iterdir())
        }
        write_atomic(made / MANIFEST, to_json({"facts": facts, "files": files}, indent=1))
        if entry.exists():
            shutil.rmtree(entry)
        made.rename(entry)
        sync_folder(entry.parent)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return facts


@contextmanager
def _writing(folder: Path) -> Generator[None]:
    """Make a folder of the cache; where the disk refuses that or a write below it, say which and what to do."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"the cache in {cache_folder()} cannot be written: {error.strerror or error}. "
            "Choose another place: SHOAL_CACHE=DIR."
        ) from error


@contextmanager
def _locked(entry: Path) -> Generator[None]:
    """Hold the lock of an entry; it goes with the process, however that ends."""
    with entry.with_name(f"{entry.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
