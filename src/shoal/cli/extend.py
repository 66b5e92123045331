"""`shoal extend RUN budget.epochs=20`: train a run for longer, from where it stands."""

from __future__ import annotations

from pathlib import Path

from shoal.assembly import extend, import_modules
from shoal.cli.train import conducted
from shoal.recipe.compose import override
from shoal.store import resolve


def run(name: str, words: list[str], *, runs: Path, modules: list[str], json: bool, verbose: int) -> int:
    """Train the longer run; return the exit code, that of `shoal train`."""
    import_modules(modules)
    folder, changes = resolve(runs, name), [override(word) for word in words]
    return conducted(lambda screen: extend(folder, changes, runs=runs, screen=screen), json=json, verbose=verbose)
