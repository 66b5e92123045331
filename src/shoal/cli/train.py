"""`shoal train`: compose a recipe, conduct its run, show the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from shoal.assembly import Screen, conduct, import_modules
from shoal.cli import output, slurm
from shoal.cli.detach import Detached
from shoal.cli.signals import RESUMABLE
from shoal.errors import InputError, ShoalError
from shoal.files import to_json
from shoal.pages.closing import closing
from shoal.recipe import Recipe
from shoal.recipe.compose import DEFAULT_PRESET, compose
from shoal.store import RunFolder, record


def run(
    words: list[str],
    *,
    runs: Path,
    config_dir: Path | None,
    modules: list[str],
    again: bool,
    json: bool,
    verbose: int,
    detach: bool = False,
) -> int:
    """Train the run that the words describe; return the exit code: 0 done, 75 stopped and resumable.

    With `detach` another process does it, and this one ends when the first step comes.
    """
    detached = Detached.begin() if detach else None
    import_modules(modules)
    preset, overrides = split(words)
    recipe = compose(preset, overrides, config_dir=config_dir)
    return conducted(
        lambda screen: conduct(recipe, runs=runs, screen=screen, again=again),
        json=json,
        verbose=verbose,
        detached=detached,
    )


def conducted(
    train: Callable[[Screen], RunFolder], *, json: bool, verbose: int, detached: Detached | None = None
) -> int:
    """Train a run on a screen, and show the result; return the exit code: 0 done, 75 stopped and resumable."""
    watcher = detached and partial(_let_go, detached)
    screen = Screen(sys.stderr if json else sys.stdout, verbose=verbose, watcher=watcher)
    try:
        folder = train(screen)
    except Exception:
        if json and screen.run is not None:  # it was started: the result says how it ended
            _print(record.result(screen.run))
        raise
    facts = record.read(folder)
    result = record.result(folder, facts)
    if json:
        _print(result)
    if result["status"] == "finished":
        screen.show(closing(result, facts))
        return 0
    if said := slurm.requeue(facts.get("stopped") or {}):
        screen.say(said)
    return RESUMABLE


def _let_go(detached: Detached, run: RunFolder, step: int, total: int) -> None:
    """The first step comes: from here on everything is in the run's folder."""
    del step, total
    detached.let_go(run.label, run.path.parent.parent)


def _print(result: Mapping[str, Any]) -> None:
    """Print a result; one that nobody reads does not change how the training ended."""
    try:
        print(to_json(result), flush=True)
    except OSError as error:
        if error.errno not in output.GONE:
            raise ShoalError(
                f"the result could not be written: {error.strerror}. It is in run.json of the run's folder, and 'shoal "
                "ls --json' prints it."
            ) from error


def split(words: list[str]) -> tuple[str, list[str]]:
    """Return the preset among the words (digits where there is none) and the KEY=VALUE words."""
    presets = [word for word in words if "=" not in word]
    dotted = next((word for word in presets if word.partition(".")[0] in Recipe.model_fields), None)
    if dotted is not None:
        raise InputError(f"{dotted!r} has no value: expected KEY=VALUE, such as {dotted}=VALUE.")
    if len(presets) > 1:
        raise InputError(f"expected one preset, found {len(presets)}: {', '.join(presets)}. Settings are KEY=VALUE.")
    return (presets[0] if presets else DEFAULT_PRESET), [word for word in words if "=" in word]
