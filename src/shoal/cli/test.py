"""`shoal test RUN`: measure a trained run again on its test split, or on other data."""

from __future__ import annotations

import sys
from pathlib import Path

from shoal.assembly import import_modules, test_run
from shoal.cli import output
from shoal.errors import InputError, nearest
from shoal.pages.formats import clean, measure
from shoal.recipe.compose import override
from shoal.store import record, resolve

KEYS = {"dataset.path": "path", "device": "device", "split": "split", "weights": "weights", "precision": "precision"}
WORDS = {"raw": "the last weights", "average": "averaged weights", "best": "the best weights"}


def run(name: str, words: list[str], *, runs: Path, modules: list[str], json: bool, verbose: int) -> int:
    """Print the metrics; return the exit code."""
    del verbose
    import_modules(modules)
    settings: dict[str, str] = {}
    for key, value in map(override, words):
        if key not in KEYS:
            close = nearest(key, KEYS)
            hint = f"did you mean {close}? " if close else ""
            raise InputError(f"unknown key {key}: {hint}shoal test takes: {', '.join(KEYS)}.")
        settings[KEYS[key]] = str(value)
    folder = resolve(runs, name)
    found = test_run(folder, **settings)  # pyright: ignore[reportArgumentType]
    for note in found.notes:
        print(note, file=sys.stderr)
    if json:
        output.results([{**record.result(folder), "metrics": found.metrics, "weights": found.weights}])
        return 0
    whose = ", ".join(f"{name} with {WORDS[w]}" for name, w in found.weights.items())
    metrics = {clean(name): value for name, value in found.metrics.items()}
    width = max(map(len, metrics))
    output.lines([f"{clean(folder.label)}, measured again: {whose}"])
    output.lines(f"  {name:<{width}}  {measure(value)}" for name, value in metrics.items())
    return 0
