"""Whether what a run's folder holds is still what was written: every checkpoint byte by byte, record, journals.

Reads and changes nothing, beside a live training too: a checkpoint that is removed while it is read is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.errors import CheckpointError, StoreError
from shoal.store import record
from shoal.store.checkpoint_files import candidates, damage, manifest_of, step_of
from shoal.store.journal import last_row, unreadable
from shoal.store.layout import RunFolder
from shoal.store.lock import is_live
from shoal.store.marks import Changed, Mark
from shoal.store.record_check import record_problems


@dataclass(frozen=True)
class CheckedCheckpoint:
    """One checkpoint: its step, its bytes, and what is wrong with it, or None."""

    path: Path
    step: int
    size: int
    damage: str | None


@dataclass(frozen=True)
class Verified:
    """What was found in one run's folder, checkpoints newest first; `problems` are of the other files."""

    folder: RunFolder
    checkpoints: tuple[CheckedCheckpoint, ...]
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and all(one.damage is None for one in self.checkpoints)

    @property
    def size(self) -> int:
        """The bytes of all checkpoints."""
        return sum(one.size for one in self.checkpoints)

    def plain(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        checkpoints = [{"step": one.step, "bytes": one.size, "damage": one.damage} for one in self.checkpoints]
        return {
            "run": self.folder.label,
            "folder": str(self.folder.path),
            "sound": self.sound,
            "checkpoints": checkpoints,
            "problems": list(self.problems),
        }


def verify(folder: RunFolder) -> Verified:
    """Read every file of a run's folder that a resumed training or a reader depends on."""
    checked = [_checked(path) for path in candidates(folder.checkpoints)]
    checkpoints = tuple(one for one in checked if one is not None)
    live, problems = is_live(folder), list[str]()
    for journal in (folder.history, folder.timing):
        if (lines := unreadable(journal)) and not live:  # the last line of a live one may be half-written
            problems.append(f"{journal}: {lines} cannot be read")
    try:
        known = record.read(folder)
    except StoreError as error:
        problems.append(str(error))
    else:
        problems += record_problems(folder, known, trained=bool(checkpoints))
    problems += _rows_lost(folder, checkpoints)
    if not checkpoints and not live and last_row(folder.history) is not None:
        problems.append(f"{folder.checkpoints}: there is no checkpoint, although {folder.history.name} has rows")
    return Verified(folder, checkpoints, tuple(problems))


def _checked(path: Path) -> CheckedCheckpoint | None:
    wrong = damage(path)
    try:
        size = sum(file.lstat().st_size for file in path.iterdir())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        size = 0
    return CheckedCheckpoint(path, step_of(path), size, wrong)


def _rows_lost(folder: RunFolder, checkpoints: tuple[CheckedCheckpoint, ...]) -> list[str]:
    """A journal that is not what it was when the newest good checkpoint was saved has lost rows, or was edited."""
    good = next((one for one in checkpoints if one.damage is None), None)
    if good is None:
        return []
    try:
        manifest = manifest_of(good.path)
        marks = {path: Mark.of(manifest, path.stem) for path in (folder.history, folder.timing)}
    except (
        CheckpointError,
        KeyError,
        TypeError,
        ValueError,
    ):  # removed since, or of another hand, which states nothing
        return []
    found: list[str] = []
    for path, mark in marks.items():
        content = path.read_bytes() if path.is_file() else b""
        if not mark.fits(content):
            size, then = f"{len(content):,} bytes", f"when the checkpoint of step {good.step:,} was saved"
            what = f"{size}, and {mark.offset:,} {then}" if len(content) < mark.offset else f"not what it was {then}"
            rows = Changed(path.name, mark, len(mark.lines_in(content))).rows
            found.append(f"{path}: {what}; {rows} up to there can be read")
    return found
