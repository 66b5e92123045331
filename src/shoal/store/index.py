"""`.index.json` of a runs folder: what lists take from the files of its runs, so that thousands are not opened again.

A cache and no more. What it has of a file counts while the file is the same: its times, its length, its inode. A file
that was changed a moment ago is not kept, for it could change once more without a trace. An index that is missing,
damaged, of another format, or that cannot be written changes nothing but the time that a list takes.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, cast

from shoal import files
from shoal.store.layout import INDEX

FORMAT = 1
FEW = 100
"""Files that are read again at every list, rather than writing the whole index for them."""
MANY, ABREAST, LARGE = 500, 8, 1 << 16
"""From how many unknown files on threads fetch them first, how many threads, and how many bytes of each."""
SETTLED_NS = 2_000_000_000
"""How long ago a file must have been changed: file systems tell times in steps, of up to two seconds."""
STALE_SECONDS = 60
"""The age at which half an index is one that a killed process left."""

Value = dict[str, Any]
Look = Callable[[str, Callable[[Path], Value]], Value]
"""Takes the path of a file and what reads it; returns what is in it, {} where there is no such file."""


def afresh(path: str, read: Callable[[Path], Value]) -> Value:
    """Read a file without an index."""
    return read(Path(path))


class Index:
    """What is known of the files of one runs folder, for one list of all its runs."""

    def __init__(self, runs: Path, edition: object) -> None:
        """Open the index of a runs folder; one that another `edition` of the readers wrote is not used."""
        self._path = runs / INDEX
        self._above = str(self._path).removesuffix(INDEX)
        self._head: Value = {"format": FORMAT, "edition": edition}
        self._known = self._load()
        self._kept: dict[str, list[Any]] = {}
        self._read = 0
        self._settled = time.time_ns() - SETTLED_NS

    def look(self, path: str, read: Callable[[Path], Value]) -> Value:
        """Return what `read` makes of a file, from the index where the file is the same; {} where there is none."""
        try:
            found = os.stat(path)  # noqa: PTH116 a Path takes longer to make than this takes
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError:
            return read(Path(path))
        stamp = f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_size} {found.st_ino}"
        entry = self._known.get(path)
        if entry is not None and entry[0] == stamp:
            self._kept[path] = entry
            return entry[1]
        value = read(Path(path))
        if found.st_ctime_ns < self._settled:
            self._kept[path] = [stamp, value]
            self._read += 1
        return value

    def ahead(self, paths: Sequence[str]) -> None:
        """Have the system fetch the files that are not known, several at a time: a cold disk is waited for less."""
        new = [path for path in paths if path not in self._known]
        if len(new) >= MANY:
            threads = [Thread(target=_fetch, args=(new[place::ABREAST],)) for place in range(ABREAST)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def save(self) -> None:
        """Write what was seen, where that is worth it; what is gone is no longer in it."""
        if self._read < FEW:
            return
        start = len(self._above)
        body = json.dumps({path[start:]: entry for path, entry in self._kept.items()}, separators=(",", ":")).encode()
        with suppress(OSError):
            files.write_atomic(self._path, json.dumps({**self._head, "crc": zlib.crc32(body)}).encode() + b"\n" + body)
        for left in self._path.parent.glob(f".{INDEX}.tmp-*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    left.unlink()

    def _load(self) -> dict[str, list[Any]]:
        try:
            head, _, body = self._path.read_bytes().partition(b"\n") if self._path.is_file() else (b"", b"", b"")
            if json.loads(head) != {**self._head, "crc": zlib.crc32(body)}:
                return {}
            found: Any = json.loads(body)
        except (OSError, ValueError, RecursionError):
            return {}
        entries = cast(dict[str, Any], found) if isinstance(found, dict) else {}
        return {self._above + path: entry for path, entry in entries.items() if _is_entry(entry)}


def _fetch(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                os.read(handle, LARGE)
            finally:
                os.close(handle)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(cast(list[Any], entry)) == 2 and isinstance(entry[1], dict)
