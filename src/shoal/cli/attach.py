"""`shoal attach`: the table of a sweep as it goes, from the files that its driver and its runs write."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoal.cli import logs
from shoal.cli.sweep_screen import SweepScreen
from shoal.errors import StoreError
from shoal.pages.sweep_table import Look, Row
from shoal.store import find, read_journal, sweeps
from shoal.sweeps.board import Board, driver, read_live, run_or_sweep

POLL_SECONDS = 0.5


def run(name: str | None, look: Look, *, runs: Path, trim: bool, once: bool) -> int:
    """Show a sweep until nobody trains it any more, or follow a run's log; return the exit code."""
    known = sweeps.names(runs)
    if name is not None and name not in known:
        return logs.run(str(run_or_sweep(runs, name).path), runs=runs, follow=not once, lines=None)
    board = Board(runs, sweeps.read(runs, name or _latest(runs, known)))
    screen = SweepScreen(sys.stdout, look)
    try:
        rows = _watched(board, screen, runs, trim=trim, once=once)
    except KeyboardInterrupt:
        screen.close()
        screen.say("The sweep goes on; 'shoal attach' shows it again.")
        return 0
    screen.end(rows)
    if driver(runs, board.sweep.name) is None and any(row.status in ("queued", "killed", "stopped") for row in rows):
        screen.say(f"Nobody trains it. What is left is done by the same command: {board.sweep.command}")
    return 0


def _watched(board: Board, screen: SweepScreen, runs: Path, *, trim: bool, once: bool) -> list[Row]:
    """Show the rows as they change; return the last ones."""
    while True:
        alive = driver(runs, board.sweep.name) is not None
        board.refresh()
        rows = board.rows(_now(read_live(runs, board.sweep.name), board, alive=alive))
        rows = _trimmed(rows, runs) if trim else rows
        if once or not alive:
            return rows
        screen.update(rows)
        time.sleep(POLL_SECONDS)


def _now(live: Mapping[str, Any], board: Board, *, alive: bool) -> Mapping[str, Any]:
    """What the driver said last; of one that is gone only why runs have no folder."""
    told: Mapping[str, Any] = live.get("runs") or {}
    if alive:
        return told
    there = {point.run for point in board.points if (point.signature, point.seed) in board.known}
    return {label: now for label, now in told.items() if now.get("status") == "failed" and label not in there}


def _trimmed(rows: Sequence[Row], runs: Path) -> list[Row]:
    """The rows with the metrics of the epoch that the slowest run has reached, so that they can be compared."""
    reached = [row.epoch for row in rows if row.epoch is not None and row.status != "failed"]
    slowest = min(reached, default=math.inf)
    return [_at(row, slowest, runs) for row in rows]


def _at(row: Row, epoch: float, runs: Path) -> Row:
    folder = find(runs, row.signature, row.seed)
    if folder is None or row.epoch is None or row.epoch <= epoch:
        return row
    metrics, reached = dict[str, float](), row.epoch
    for line in read_journal(folder.history)[0]:
        if line.get("epoch", math.inf) > epoch + 1e-9:
            break
        reached = line["epoch"]
        metrics |= {key: value for key, value in line.items() if "." in key and isinstance(value, int | float)}
    return replace(row, metrics=metrics, epoch=reached)


def _latest(runs: Path, known: Sequence[str]) -> str:
    """The sweep that is being trained, else the one that was asked for last."""
    if not known:
        raise StoreError(
            f"there are no sweeps in {str(runs)!r}: 'shoal sweep' makes one; --runs DIR names another folder."
        )
    live = [name for name in known if driver(runs, name) is not None]
    return max(live or known, key=lambda name: sweeps.path_of(runs, name).stat().st_mtime)
