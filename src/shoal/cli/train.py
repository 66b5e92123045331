"""`shoal train`: compose a recipe, conduct its run, show the result."""

from __future__ import annotations

import sys
from pathlib import Path

from shoal.assembly import Screen, conduct, import_modules
from shoal.errors import InputError
from shoal.files import to_json
from shoal.pages.closing import closing
from shoal.recipe import Recipe
from shoal.recipe.compose import DEFAULT_PRESET, compose
from shoal.store import record

RESUMABLE = 75


def run(
    words: list[str],
    *,
    runs: Path,
    config_dir: Path | None,
    modules: list[str],
    again: bool,
    json: bool,
    verbose: int,
) -> int:
    """Train the run that the words describe; return the exit code: 0 done, 75 stopped and resumable."""
    import_modules(modules)
    preset, overrides = split(words)
    recipe = compose(preset, overrides, config_dir=config_dir)
    screen = Screen(sys.stderr if json else sys.stdout, verbose=verbose)
    try:
        folder = conduct(recipe, runs=runs, screen=screen, again=again)
    except Exception:
        if json and screen.run is not None:  # it was started: the result says how it ended
            print(to_json(record.result(screen.run)), flush=True)
        raise
    result = record.result(folder)
    if json:
        print(to_json(result), flush=True)
    if result["status"] == "finished":
        screen.show(closing(result, record.read(folder)))
    return 0 if result["status"] == "finished" else RESUMABLE


def split(words: list[str]) -> tuple[str, list[str]]:
    """Return the preset among the words (digits where there is none) and the KEY=VALUE words."""
    presets = [word for word in words if "=" not in word]
    dotted = next((word for word in presets if word.partition(".")[0] in Recipe.model_fields), None)
    if dotted is not None:
        raise InputError(f"{dotted!r} has no value: expected KEY=VALUE, such as {dotted}=VALUE.")
    if len(presets) > 1:
        raise InputError(f"expected one preset, found {len(presets)}: {', '.join(presets)}. Settings are KEY=VALUE.")
    return (presets[0] if presets else DEFAULT_PRESET), [word for word in words if "=" in word]
