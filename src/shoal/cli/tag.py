"""`shoal tag RUN...`: words that people give runs, to find them by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoal.cli import output
from shoal.errors import StoreError
from shoal.pages.formats import clean
from shoal.store import notes, record, resolve


def run(names: Sequence[str], *, add: Sequence[str], remove: Sequence[str], runs: Path, json: bool) -> int:
    """Change the tags of runs, where anything is to be changed, and print them; return the exit code."""
    for tag in add:
        notes.checked_tag(tag)
    folders = list(dict.fromkeys(resolve(runs, name) for name in names))
    for folder in folders:
        if add or remove:
            notes.change(folder, add=add, remove=remove)
        elif problem := notes.problem(folder):
            raise StoreError(problem)
        if json:
            output.results([record.result(folder)])
        else:
            output.lines([f"{clean(folder.label)}  {clean(','.join(notes.of(folder).tags) or '-')}"])
    return 0
