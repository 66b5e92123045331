"""How a status looks (a symbol, a word and a colour, so that none carries meaning alone) and what to do about it."""

from __future__ import annotations

from functools import lru_cache

from shoal.pages import formats
from shoal.pages.blocks import Cell

SYMBOLS = {
    "queued": ("○", "dim"),
    "running": ("▶", "cyan"),
    "finished": ("✓", "green"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "killed": ("†", "yellow"),
    "unreadable": ("?", "red"),
}


@lru_cache
def status(word: str) -> Cell:
    """Return the status as a cell."""
    symbol, style = SYMBOLS.get(word, ("?", "red"))
    return Cell(f"{symbol} {formats.clean(word)}", style)


def advice(word: str, *, folder: str, command: str, by_hand: bool = False) -> str:
    """Return what to do next about a run with this status; `command` is the one that it was started with.

    What was trained `by_hand`, by a program, cannot be tested from its folder.
    """
    match word:
        case "finished":
            return f"shoal {'report' if by_hand else 'test'} {folder}"
        case "running":
            return f"shoal logs --follow {folder}"
        case "failed":
            return f"shoal logs {folder} says more; the same command goes on from the last checkpoint: {command}"
        case "stopped" | "killed":
            return f"the same command goes on from the last checkpoint: {command}"
        case "queued":
            return f"it has not begun: {command}"
        case _:
            return "restore run.json from a copy, or rename the folder to set it aside"
