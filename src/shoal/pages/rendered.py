"""Pages through `rich`: tables and a little colour on a terminal, the plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from shoal.pages.blocks import Block, Cell, Grid, Heading, Lines, Pairs, plain, text_of, width
from shoal.pages.splits import AVERAGED

GAP = 2
SHORTEST = 12
"""A spare column narrower than this says nothing."""


@dataclass(frozen=True)
class Rendered:
    """A page that `Console.print` takes."""

    blocks: Sequence[Block]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.is_terminal:
            for index, block in enumerate(self.blocks):
                yield from _renderables(block, first=index == 0, room=options.max_width)
        else:
            for line in plain(self.blocks):
                yield Segment(line)
                yield Segment.line()


def _renderables(block: Block, *, first: bool, room: int) -> Iterable[RenderableType]:
    match block:
        case Heading(text):
            yield Text(text if first else f"\n{text}", style="bold")
        case Pairs(rows):
            yield _pairs(rows)
        case Lines(lines):
            yield Text("\n".join(lines), overflow="fold")
        case Grid():
            yield _grid(block, room)


def _pairs(rows: Iterable[tuple[str, str | Cell]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), _text(value))
    return table


def _grid(grid: Grid, room: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    widths = _widths(grid, room)
    for column, chosen in zip(grid.columns, widths, strict=True):
        if chosen:
            table.add_column(
                Text(_broken(column.title)),
                justify="right" if column.right else "left",
                overflow="ellipsis" if column.spare else "fold",
                no_wrap=column.spare,
                max_width=chosen,
            )
    for row in grid.rows:
        table.add_row(*(_text(cell) for cell, chosen in zip(row, widths, strict=True) if chosen))
    return table


def _widths(grid: Grid, room: int) -> list[int]:
    """How wide each column may be: what it needs, except that spare ones share what is left; 0 leaves one out."""
    natural = [
        max(
            [width(part) for part in _broken(column.title).split("\n")]
            + [width(text_of(row[index])) for row in grid.rows]
        )
        for index, column in enumerate(grid.columns)
    ]
    left = room - sum(size + GAP for size, column in zip(natural, grid.columns, strict=True) if not column.spare)
    chosen: list[int] = []
    for size, column in zip(natural, grid.columns, strict=True):
        if not column.spare:
            chosen.append(size)
            continue
        given, least = min(size, left), size if column.whole else min(size, SHORTEST)
        chosen.append(given if given >= least else 0)
        left -= chosen[-1] + GAP * (chosen[-1] > 0)
    return chosen


def _broken(title: str) -> str:
    """A metric's name in two lines, three for averaged weights: its columns are as narrow as its values."""
    return title.replace(f"{AVERAGED}.", "_\naverage.", 1).replace(".", ".\n", 1)


def _text(cell: str | Cell) -> Text:
    return Text(cell.text, style=cell.style) if isinstance(cell, Cell) else Text(cell)
