"""Compare runs from Python."""

from __future__ import annotations

from pathlib import Path

from shoal.api.run import Run
from shoal.files import expanded
from shoal.pages.chosen import items
from shoal.pages.comparison import compared
from shoal.pages.comparison_blocks import Comparison


def compare(*things: str | Path | Run, runs: str | Path = "runs") -> Comparison:
    """Compare runs, experiments (all their seeds) and sweeps: recipes, code, versions, results, and what they mean.

    Each is a Run, or what the command line takes: a folder, a label, a name, digits of a signature, a sweep's name.

    >>> found = compare("digits-0edd5fe151ca", "digits-7fa627a67f88")        # doctest: +SKIP
    >>> found.verdicts[0]                                                    # doctest: +SKIP
    'test.accuracy: A is better than B by 0.0116 (95 % interval 0.0072 to 0.0160, 5 shared seeds)'

    Raises InputError for fewer than two things, or for runs that share no metric, StoreError for a run that is not
    there.
    """
    words = [str(thing.folder if isinstance(thing, Run) else thing) for thing in things]
    return Comparison(compared(items(expanded(runs), words)))
