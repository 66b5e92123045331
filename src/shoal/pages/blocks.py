"""A page as data: headings, pairs, grids and lines, and how they look in a pipe.

Plain means plain: no colour, no frames, nothing cut to a width; columns are aligned, one row is one line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

GAP = "  "


@dataclass(frozen=True)
class Cell:
    """A text with a style of `rich` (a colour's name), which a pipe leaves out."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Heading:
    """A title over what follows."""

    text: str


@dataclass(frozen=True)
class Pairs:
    """Names and their values."""

    rows: Sequence[tuple[str, str | Cell]]


@dataclass(frozen=True)
class Lines:
    """Text whose lines stay as they are."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    `named` puts its title into every cell of a plain grid without a header; `spare` lets a terminal shorten its cells,
    and leave the column out where there is no room; one that is `whole` besides is never shortened, as numbers are not.
    """

    title: str
    right: bool = False
    named: bool = False
    spare: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Grid:
    """Rows under columns. A plain grid without a header is one that `grep`, `sort` and `wc -l` can be used on."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell]]
    header: bool = True


Block = Heading | Pairs | Lines | Grid


def text_of(cell: str | Cell) -> str:
    """Return a cell's text without its style."""
    return cell.text if isinstance(cell, Cell) else cell


def plain(blocks: Iterable[Block]) -> list[str]:
    """Return the lines of a page for a pipe."""
    lines: list[str] = []
    for block in blocks:
        match block:
            case Heading(text):
                lines += ["", text] if lines else [text]
            case Pairs(rows):
                lines += _aligned([[name, text_of(value)] for name, value in rows], right=())
            case Lines(verbatim):
                lines += verbatim
            case Grid():
                lines += _grid(block)
    return lines


def _grid(grid: Grid) -> list[str]:
    named = [column.named and not grid.header for column in grid.columns]
    titles = [column.title for column in grid.columns]
    rows = [
        [
            f"{title}={text_of(cell)}" if name else text_of(cell)
            for title, name, cell in zip(titles, named, row, strict=True)
        ]
        for row in grid.rows
    ]
    right = {index for index, column in enumerate(grid.columns) if column.right and not named[index]}
    return _aligned([titles, *rows] if grid.header else rows, right=right)


def _aligned(rows: Sequence[Sequence[str]], *, right: Iterable[int]) -> list[str]:
    if not rows:
        return []
    columns = [_padded(column, index in right) for index, column in enumerate(zip(*rows, strict=True))]
    return [GAP.join(row).rstrip() for row in zip(*columns, strict=True)]


def _padded(cells: Sequence[str], right: bool) -> list[str]:
    if all(map(str.isascii, cells)):
        size = max(map(len, cells))
        return [cell.rjust(size) if right else cell.ljust(size) for cell in cells]
    size = max(map(width, cells))
    return [_pad(cell, size, right) for cell in cells]


def _pad(text: str, size: int, right: bool) -> str:
    space = " " * (size - width(text))
    return space + text if right else text + space


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else _width(text)


@lru_cache  # a long list has few different statuses
def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
