"""`shoal note RUN [TEXT]`: a sentence that people say of a run."""

from __future__ import annotations

from pathlib import Path

from shoal.cli import output
from shoal.errors import StoreError
from shoal.pages.formats import clean
from shoal.store import notes, record, resolve


def run(name: str, text: str | None, *, append: bool, runs: Path, json: bool) -> int:
    """Set a run's note, where a text is given, and print it; return the exit code."""
    folder = resolve(runs, name)
    if text is not None:
        notes.change(folder, note=text, append=append)
    elif problem := notes.problem(folder):
        raise StoreError(problem)
    if json:
        output.results([record.result(folder)])
    else:
        output.lines(clean(line, keep="\t") for line in notes.of(folder).note.splitlines())
    return 0
