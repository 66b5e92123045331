"""`shoal rm RUN...`: delete runs, after asking."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from shoal.cli import output
from shoal.errors import InputError, LiveRunError, StoreError
from shoal.files import size
from shoal.pages.formats import clean
from shoal.store import RunFolder, is_live, remove, resolve
from shoal.store.catalog import as_result, summary_of
from shoal.store.folder import lies_in, refuse_removal
from shoal.store.lock import refusal


def run(names: Sequence[str], *, runs: Path, yes: bool, json: bool = False) -> int:
    """Delete the runs, all of them or, where one is refused, none; return the exit code."""
    folders = list(dict.fromkeys(_resolved(runs, name) for name in names))
    for folder in folders:
        if is_live(folder):
            raise LiveRunError(refusal(folder))
        refuse_removal(folder)
    if not yes:
        _ask(folders)
    for folder in folders:
        summary = summary_of(folder)
        remove(folder)
        if not json:
            output.lines([f"removed {clean(folder.label)}"])
        elif summary is not None:
            output.results([as_result(summary)])
    return 0


def _resolved(runs: Path, name: str) -> RunFolder:
    """The run that is meant; what is deleted lies in the runs folder, even where its path is spelled out."""
    folder = resolve(runs, name)
    if not lies_in(runs, folder.path):
        raise StoreError(
            f"{str(folder.path)!r} lies outside of the runs folder {str(runs)!r}: nothing was removed. Name the folder "
            "of runs that it lies in: --runs DIR."
        )
    return folder


def _ask(folders: Sequence[RunFolder]) -> None:
    """Ask on the terminal; raises InputError where there is nobody to ask, click.Abort where the answer is no."""
    many = f"{len(folders)} runs" if len(folders) > 1 else "1 run"
    if not sys.stdin.isatty():
        raise InputError(f"{many} would be deleted for good, and there is no terminal to ask on: say --yes.")
    for folder in folders:
        output.note(f"{clean(folder.label)}  {size(_bytes_of(folder.path))}")
    click.confirm(f"Delete {many} for good?", abort=True, err=True)


def _bytes_of(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*"))
