"""`shoal compare A B ...`: what differs between runs, and which is better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoal.cli import output
from shoal.pages.chosen import items
from shoal.pages.comparison import as_data, compared
from shoal.pages.comparison_blocks import blocks


def run(names: Sequence[str], *, runs: Path, json: bool) -> int:
    """Print the comparison; return the exit code."""
    facts = compared(items(runs, names))
    if json:
        output.results([as_data(facts)])
    else:
        output.page(blocks(facts))
    return 0
