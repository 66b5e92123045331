"""Where a journal was when a checkpoint was saved, and what is left of it where it was changed since.

A journal that was cut short, edited or removed keeps no run from going on: its rows are a record of the training and no
part of its state. What can be read of them is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Mark:
    """A place in a journal: its length in bytes and in rows (None: not known) after the rows of a step.

    `due`: the row of that step was still to be written. `free`: a program of the user's writes the rows, of any kind at
    any step, some of a step before the mark and some behind it.
    """

    offset: int
    rows: int | None
    step: int
    due: bool = False
    free: bool = False

    @classmethod
    def of(cls, manifest: Mapping[str, Any], journal: str) -> Mark:
        """Return what a checkpoint states of a journal, `history` or `timing`; raises KeyError where it does not."""
        rows, free = manifest.get(f"{journal}_rows"), bool(manifest.get("free"))
        due = bool(manifest.get("due")) and not free
        offset = int(manifest[f"{journal}_bytes"])
        return cls(offset, int(rows) if rows is not None else None, manifest["step"], due, free)

    def fits(self, content: bytes) -> bool:
        """Return whether a line ends there, and the rows before and after it are those that belong there."""
        before, after = content[: self.offset], content[self.offset :]
        if not 0 <= self.offset <= len(content) or before[-1:] not in (b"", b"\n"):
            return False
        if self.free:
            return self.rows in (None, before.count(b"\n"))
        last, following = _first(reversed(before.split(b"\n"))), _first(after.split(b"\n"))
        if last is not None and not self._has(last):
            return False
        return following is None or not self._has(following) or following["step"] <= (last or {"step": -1})["step"]

    def lines_in(self, content: bytes) -> list[bytes]:
        """Return the lines that can be read and are of the mark's steps, in rising order of steps."""
        found: list[bytes] = []
        last = -1
        for line in content.split(b"\n"):
            row = row_of(line)
            if row is not None and self._has(row) and row["step"] > last - self.free:
                found.append(line)
                last = row["step"]
        return found[: self.rows] if self.free else found

    def loses(self, content: bytes, kept: bytes) -> bool:
        """Return whether `kept` leaves out more of a journal than later rows, which training writes again."""
        left_out = [row_of(line) for line in content[len(kept) :].split(b"\n") if line]
        return not content.startswith(kept) or any(
            row is None or type(row.get("step")) is not int or self._has(row) for row in left_out
        )

    def _has(self, row: Mapping[str, Any]) -> bool:
        """Whether a row may have been written before: the test comes after the last checkpoint, at its step."""
        step = row.get("step")
        if type(step) is not int or step > self.step or (step == self.step and self.due):
            return False
        return self.free or not any(name.startswith("test") for name in row)


@dataclass(frozen=True)
class Changed:
    """A journal that was not what it was at a mark: how many rows were kept, and the copy of what was found, if any."""

    file: str
    mark: Mark
    kept: int
    beside: str | None = None

    @property
    def missing(self) -> int:
        """Rows that were there at the mark and are not any more, as far as is known."""
        return max(0, (self.mark.rows or 0) - self.kept)

    @property
    def rows(self) -> str:
        """How many rows are left, in words."""
        if self.mark.rows is None:
            return f"{self.kept:,} rows"
        return f"{self.kept:,} of the {self.mark.rows:,} rows"

    @property
    def said(self) -> str:
        """What happened to the file, as a sentence."""
        found = f", and the file as it was found is {self.beside}" if self.beside else ""
        return (
            f"{self.file} was changed after the checkpoint of step {self.mark.step:,} was saved: {self.rows} up to "
            f"there can be read; they are kept{found}."
        )

    def plain(self) -> dict[str, Any]:
        """Return what `run.json` keeps of it."""
        return {"file": self.file, "step": self.mark.step, "missing": self.missing, "said": self.said}


def row_of(line: bytes) -> dict[str, Any] | None:
    """Return the row that a line of a journal holds, None where it cannot be read."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) else None


def _first(lines: Iterable[bytes]) -> dict[str, Any] | None:
    return next((row for line in lines if (row := row_of(line)) is not None), None)
