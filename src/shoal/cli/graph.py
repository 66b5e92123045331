"""`shoal graph`: the graph of a recipe's training step, shown and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shoal.assembly import Workshop, import_modules, step_graph
from shoal.cli import output
from shoal.cli.train import split
from shoal.errors import InputError, StoreError
from shoal.files import size, to_json, write_atomic
from shoal.pages.blocks import Lines
from shoal.pages.formats import clean
from shoal.pages.step_graph import graph_page, graph_text, is_graph
from shoal.recipe.compose import compose

LISTS = ("format", "inputs", "program", "compiled")
"""What only the file has."""


def run(
    words: list[str],
    *,
    file: Path | None,
    compiling: bool,
    force: bool,
    runs: Path,
    config_dir: Path | None,
    modules: list[str],
    json: bool,
) -> int:
    """Record and measure a step, write its graph, show it; return the exit code."""
    import_modules(modules)
    preset, overrides = split(words)
    recipe = compose(preset, overrides, config_dir=config_dir)
    target = _target(recipe.name, file)
    if target.exists() and not force and not is_graph(target):
        raise InputError(f"{str(target)!r} is there and is no graph of Shoal's: say --force, or another -o FILE.")
    graph = step_graph(Workshop(recipe, runs=runs), compiling=compiling, say=output.note)
    written = _write(target, graph)
    if json:
        output.results([{**{key: value for key, value in graph.items() if key not in LISTS}, "file": str(target)}])
    else:
        output.page([*graph_page(graph), Lines(["", f"{clean(target)} ({size(written)}) has every operation."])])
    return 0


def _target(name: str, file: Path | None) -> Path:
    """The file to write; in a folder, and by default in the current one, the graph is named after the recipe."""
    named = f"{name}.graph.txt"
    if file is None:
        return Path(named)
    return file / named if file.is_dir() else file


def _write(target: Path, graph: dict[str, Any]) -> int:
    content = to_json(graph, indent=1) + "\n" if target.suffix == ".json" else graph_text(graph)
    encoded = content.encode("utf-8", "replace")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, encoded)
    except OSError as error:
        raise StoreError(f"cannot write {str(target)!r}: {error.strerror}. Choose another with -o FILE.") from error
    return len(encoded)
