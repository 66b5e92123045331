"""Append-only JSON lines: `history.jsonl` and `timing.jsonl`.

Each line is one `write` to an O_APPEND descriptor, so a crash can tear only the last line. A writer repairs before
it appends (else its first line would join the torn one and both be lost), and keeps what it cut in `<name>.torn`;
readers skip the lines that they cannot read, and count them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from shoal.files import set_beside, to_json, write_atomic
from shoal.store.marks import Changed, Mark, row_of

FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
BLOCK = 4096
NAMED = 5
"""Lines that cannot be read whose numbers are told."""


class Journal:
    """One journal open for appending; for one writer at a time (the holder of the run's lock)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, FLAGS, 0o644)
        try:
            self._repair()
            self._rows = path.read_bytes().count(b"\n")
        except BaseException:
            os.close(self._handle)
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row as one line; where the disk is full nothing of it stays, and OSError says so."""
        line = to_json(row).encode() + b"\n"
        before = self.size()
        written = os.write(self._handle, line)
        if written != len(line):
            os.ftruncate(self._handle, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._rows += 1

    def size(self) -> int:
        """Return the length in bytes: the offset that `cut` takes."""
        return os.fstat(self._handle).st_size

    def restored(self) -> bool:
        """Write the file again where it was removed or replaced meanwhile; return whether it was."""
        own = os.fstat(self._handle)
        with suppress(FileNotFoundError):
            if os.path.samestat(own, self.path.stat()):
                return False
        write_atomic(self.path, os.pread(self._handle, own.st_size, 0))
        self._open_again()
        return True

    def sync(self) -> None:
        """Flush the rows to disk."""
        os.fsync(self._handle)

    def rows(self) -> int:
        """Return how many lines there are."""
        return self._rows

    def cut(self, mark: Mark) -> Changed | None:
        """Drop the rows after a mark, durably, and return None.

        Where the file is not what it was at the mark (shorter, or with other lines), the rows up to there that can be
        read are kept, a file that had more than those is copied beside it, and what came of it is returned.
        """
        self.restored()
        content, changed = self.path.read_bytes(), None
        if mark.fits(content):
            os.ftruncate(self._handle, mark.offset)
            os.fsync(self._handle)
        else:
            lines = mark.lines_in(content)
            kept = b"".join(line + b"\n" for line in lines)
            beside = set_beside(self.path).name if mark.loses(content, kept) else None
            write_atomic(self.path, kept)
            self._open_again()
            changed = Changed(self.path.name, mark, len(lines), beside)
        self._rows = self.path.read_bytes().count(b"\n")
        return changed

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open_again(self) -> None:
        gone, self._handle = self._handle, os.open(self.path, FLAGS, 0o644)
        os.close(gone)

    def _repair(self) -> None:
        size = self.size()
        whole = _last_newline(self._handle, size) + 1
        if whole == size:
            return
        torn = os.pread(self._handle, size - whole, whole)
        with self.path.with_name(f"{self.path.name}.torn").open("ab") as aside:
            aside.write(torn + b"\n")
        os.ftruncate(self._handle, whole)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the rows, and how many lines could not be read; a missing file has none of either."""
    parsed = _parsed(path)
    rows = [row for row in parsed if row is not None]
    return rows, len(parsed) - len(rows)


def unreadable(path: Path) -> str:
    """Return how many lines `read_journal` leaves out and which, in words, from 1; "" where there are none."""
    numbers = [number for number, row in enumerate(_parsed(path), 1) if row is None]
    if not numbers:
        return ""
    which = ", ".join(map(str, numbers[:NAMED])) + ", ..." * (len(numbers) > NAMED)
    return f"{len(numbers):,} line{'s' * (len(numbers) > 1)} ({which})"


def _parsed(path: Path) -> list[dict[str, Any] | None]:
    try:
        content = path.read_bytes() if path.is_file() else b""  # a pipe would be waited for
    except FileNotFoundError:
        return []
    *lines, tail = content.split(b"\n")
    return [*map(row_of, lines), *([None] if tail else [])]


def last_row(path: Path) -> dict[str, Any] | None:
    """Return the last row that can be read, from the end of the file only; None where there is none."""
    return next(_backwards(path), None)


def latest(path: Path, *, rows: int = 10) -> dict[str, Any]:
    """Return the latest value of every key in the last rows: an extra row of train metrics hides no valid metric."""
    values: dict[str, Any] = {}
    for row in islice(_backwards(path), rows):
        values = {**row, **values}
    return values


def _backwards(path: Path) -> Iterator[dict[str, Any]]:
    """The rows from the last to the first, reading no more of the file than is asked for."""
    if not path.is_file():
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        start, rest = os.fstat(handle).st_size, b""
        torn = True  # what follows the last newline
        while start > 0:
            size = min(BLOCK, start)
            start -= size
            first, *lines = (os.pread(handle, size, start) + rest).split(b"\n")
            if torn and lines:
                lines.pop()
                torn = False
            whole = [first, *lines] if start == 0 and not torn else lines
            rest = first
            yield from (row for line in reversed(whole) if (row := row_of(line)) is not None)
    finally:
        os.close(handle)


def _last_newline(handle: int, size: int) -> int:
    """Return the offset of the last newline, -1 where there is none."""
    end = size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found
        end = start
    return -1
