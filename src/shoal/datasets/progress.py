"""How far a long preparation is, on stderr: a bar in a terminal, a line every few seconds elsewhere.

What is over within two seconds says nothing. Stdout is left alone: with `--json` it belongs to the results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TextIO

PATIENCE_SECONDS = 2.0
LINE_SECONDS = 10.0


@contextmanager
def counting(what: str, total: int, stream: TextIO | None = None) -> Generator[Callable[[int], None]]:
    """Yield a function that is told how many of `total` are done, as often as one likes."""
    shown = stream or sys.stderr
    shower = _bar(what, total, shown) if shown.isatty() else _lines(what, total, shown)
    with shower as show:
        yield show


@contextmanager
def _bar(what: str, total: int, stream: TextIO) -> Generator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415  only where there is something to draw on
    from rich.progress import Progress  # noqa: PLC0415

    due = time.monotonic() + PATIENCE_SECONDS / 10
    with Progress(console=Console(file=stream), transient=True, auto_refresh=False) as bar:
        task = bar.add_task(what, total=total)

        def show(done: int) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + PATIENCE_SECONDS / 10
                with suppress(OSError, ValueError):  # a terminal that went away stops nothing
                    bar.update(task, completed=done, refresh=True)

        yield show


@contextmanager
def _lines(what: str, total: int, stream: TextIO) -> Generator[Callable[[int], None]]:
    due = time.monotonic() + PATIENCE_SECONDS

    def show(done: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + LINE_SECONDS
            with suppress(OSError, ValueError):
                stream.write(f"{what}: {done:,} of {total:,}\n")
                stream.flush()

    yield show
