"""`shoal logs RUN`: what a run's training said, and says."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from shoal.cli import output
from shoal.errors import StoreError
from shoal.pages.formats import clean
from shoal.store import RunFolder, is_live, record, resolve

POLL_SECONDS = 0.25


def run(name: str, *, runs: Path, follow: bool, lines: int | None) -> int:
    """Print the log; return the exit code."""
    folder = resolve(runs, name)
    record.check_files(folder.log, folder.lock)
    with _open(folder, wait=follow) as log:
        _print(log if lines is None else deque(log, maxlen=lines))
        if follow:
            _follow(folder, log)
    return 0


def _open(folder: RunFolder, *, wait: bool) -> TextIO:
    """Open the log; with `wait`, a live run is given the time to begin one."""
    while True:
        live = is_live(folder)
        try:
            return folder.log.open(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            if not (wait and live):
                raise StoreError(f"the run {folder.label} has no log yet: its training has not begun.") from error
        time.sleep(POLL_SECONDS)


def _follow(folder: RunFolder, log: TextIO) -> None:
    """Print what is added until the run is live no more; asked before reading, so that its last words are read."""
    while True:
        live = is_live(folder)
        _print(log)
        if not live:
            output.note(f"The run {clean(folder.label)} is not being trained: nothing more will come.")
            return
        time.sleep(POLL_SECONDS)


def _print(log: Iterable[str]) -> None:
    for line in log:
        ending = "\n" if line.endswith("\n") else ""
        sys.stdout.write(clean(line.removesuffix("\n"), keep="\t") + ending)
    sys.stdout.flush()
