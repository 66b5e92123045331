"""`shoal show RUN`: everything about one run on one page."""

from __future__ import annotations

import shutil
from pathlib import Path

from shoal.cli import output
from shoal.pages.run_page import run_page
from shoal.store import record, resolve

MARGIN = 20
"""Columns of a terminal that a curve leaves for its axis."""


def run(name: str, *, runs: Path, json: bool) -> int:
    """Print the page, or the run as JSON; return the exit code."""
    folder = resolve(runs, name)
    if json:
        output.results([record.result(folder)])
    else:
        columns = min(100, max(20, shutil.get_terminal_size().columns - MARGIN))
        output.page(run_page(folder, columns=columns))
    return 0
