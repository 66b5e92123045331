"""`shoal verify RUN...`: whether what was saved is still what was saved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

# what `verify` compares recipes with, before its clock runs
import shoal.recipe.changed  # noqa: F401  # pyright: ignore[reportUnusedImport]
from shoal.cli import output
from shoal.errors import InputError
from shoal.files import size
from shoal.pages.formats import clean
from shoal.store import RunFolder, resolve
from shoal.store.catalog import folders_in
from shoal.store.folder import is_run
from shoal.store.verify import Verified, verify


def run(names: Sequence[str], *, every: bool, runs: Path, json: bool) -> int:
    """Check runs and say what is wrong; return 1 where anything is."""
    if bool(names) == every:
        raise InputError("which runs? Name one or more, as in 'shoal verify digits', or say --all.")
    folders = _all(runs) if every else list(dict.fromkeys(resolve(runs, name) for name in names))
    began, found = time.monotonic(), list[Verified]()
    for folder in folders:
        found.append(verify(folder))
        if json:
            output.results([found[-1].plain()])
        else:
            output.lines(_told(found[-1]))
    if not json:
        output.lines([_summary(found, time.monotonic() - began, runs)])
    return 0 if all(one.sound for one in found) else 1


def _all(runs: Path) -> list[RunFolder]:
    """Every run there is, those that were set aside too."""
    return sorted((folder for folder in folders_in(runs) if is_run(folder)), key=lambda folder: folder.label)


def _told(found: Verified) -> list[str]:
    mark, count = "✓" if found.sound else "✗", len(found.checkpoints)
    many = f"{count} checkpoint{'s' * (count != 1)}"
    head = f"{mark} {clean(found.folder.label)}  {many}, {size(found.size)}"
    wrong = [one.damage for one in found.checkpoints if one.damage is not None]
    return [head, *(f"    {clean(text)}" for text in (*wrong, *found.problems))]


def _summary(found: Sequence[Verified], seconds: float, runs: Path) -> str:
    if not found:
        return f"There are no runs in {str(runs)!r}."
    total, damaged = sum(one.size for one in found), sum(not one.sound for one in found)
    rate = f"{total / max(seconds, 1e-9) / 1e6:,.0f} MB/s"
    many = f"{len(found):,} run{'s' * (len(found) != 1)}"
    if not damaged:
        return f"{many} sound: {size(total)} read at {rate}."
    return f"{damaged:,} of {many} damaged: {size(total)} read at {rate}.{_remedy(found)}"


def _remedy(found: Sequence[Verified]) -> str:
    """What happens to a run with a damaged checkpoint, where there is one that has a sound one too."""
    if not any(len({each.damage is None for each in one.checkpoints}) == 2 for one in found):
        return ""
    return " Started again, a run sets a damaged checkpoint aside and continues from the one before it."
