"""What a sweep shows: its plan; a table that changes in place; in a pipe a line for each run that ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TextIO

from rich.console import Console
from rich.live import Live

from shoal.pages import formats
from shoal.pages.blocks import Block, plain
from shoal.pages.formats import clean
from shoal.pages.rendered import Rendered
from shoal.pages.statuses import SYMBOLS
from shoal.pages.sweep_table import Look, Row, main_metric, sweep_table, unknown_key
from shoal.sweeps.board import Board
from shoal.sweeps.planning import Plan
from shoal.sweeps.queue import Queue

FRAME_SECONDS = 0.5
SHARE = 0.05
"""Of the time, that the table takes at most: with thousands of runs it changes less often."""
MARGIN = 7
"""Lines of a terminal that a table leaves: its header, its totals, a prompt."""
ENDED = ("finished", "failed", "stopped", "killed", "unreadable")


class SweepScreen:
    """One sweep's output; `quiet` keeps the table back, and shows lines."""

    def __init__(self, stream: TextIO, look: Look) -> None:
        self.look, self.stream = look, stream
        self.console = Console(file=stream, highlight=False)
        self.live: Live | None = None
        self.quiet = self.silent = False
        self.shown = self.cost = 0.0
        self.done: dict[tuple[str, int], str] = {}

    @property
    def in_place(self) -> bool:
        """Whether the table changes in place."""
        return self.console.is_terminal and not self.quiet

    def say(self, text: str) -> None:
        """Show a sentence, above the table where there is one."""
        self._write([clean(text, keep="\n")])

    def plan(self, name: str, plan: Plan, *, workers: int) -> None:
        """Show what would be done."""
        count = len(plan.planned)
        self._write([f"sweep {clean(name)}: {count:,} run{'s' * (count != 1)}", *plan.lines(workers=workers)])

    def show(self, board: Board, queue: Queue) -> None:
        """Show how far everything is, at most a few times a second."""
        if time.monotonic() - self.shown < max(FRAME_SECONDS, self.cost / SHARE) and queue.open:
            return
        self.shown = time.monotonic()
        for run in queue.wanted:
            if run.status == "running":
                board.look(run.point)
        self.update(board.rows(queue.now()))
        self.cost = time.monotonic() - self.shown

    def update(self, rows: Sequence[Row]) -> None:
        """Show rows: the table in place, or a line for each run that ended since the last time."""
        if not self.in_place:
            self._lines(rows)
            return
        table = Rendered(self._table(rows))
        self._guarded(lambda: self._refresh(table))

    def _refresh(self, table: Rendered) -> None:
        if self.live is None:
            self.live = Live(table, console=self.console, auto_refresh=False, transient=True)
            self.live.start()
        self.live.update(table, refresh=True)

    def _guarded(self, write: Callable[[], object]) -> None:
        """Write; where nobody reads any more, fall silent and train on."""
        if self.silent:
            return
        try:
            write()
        except (OSError, ValueError):
            self.silent = True

    def end(self, rows: Sequence[Row]) -> None:
        """Show the result."""
        self.close()
        table = sweep_table(rows, self.look)
        if self.console.is_terminal:
            self._guarded(lambda: self.console.print(Rendered(table)))
        else:
            self._write(plain(table))
        if wrong := unknown_key(rows, self.look):
            self.say(wrong)

    def close(self) -> None:
        """Take the table that changes in place away."""
        live, self.live = self.live, None
        if live is not None:
            self._guarded(live.stop)

    def _table(self, rows: Sequence[Row]) -> list[Block]:
        room = max(3, self.console.size.height - MARGIN)
        return sweep_table(rows, replace(self.look, rows=room if self.look.rows is None else self.look.rows))

    def _lines(self, rows: Sequence[Row]) -> None:
        """A line for each run that ended since the last time."""
        if not self.done:
            self.done = dict.fromkeys(((row.signature, row.seed) for row in rows), "")
            self.done |= {(row.signature, row.seed): row.status for row in rows if row.status == "finished"}
        metric = main_metric(rows)
        ended = sum(row.status in ENDED for row in rows)
        for row in rows:
            key = row.signature, row.seed
            if row.status in ENDED and self.done.get(key) != row.status:
                value = [f"{metric} {formats.number(row.metrics[metric])}"] if metric in row.metrics else []
                why = [clean((row.reason or "").split("\n")[0])] if row.reason and row.status != "finished" else []
                cells = [f"{SYMBOLS[row.status][0]} {row.status}", f"{ended:,}/{len(rows):,}"]
                self._write(["  ".join([*cells, f"{row.name} seed={row.seed}".strip(), *value, *why])])
            self.done[key] = row.status if row.status in ENDED else ""

    def _write(self, lines: Sequence[str]) -> None:
        text = "\n".join(lines)
        if self.console.is_terminal:
            self._guarded(lambda: self.console.print(text, markup=False, soft_wrap=True))
        else:
            self._guarded(lambda: print(text, file=self.stream, flush=True))
