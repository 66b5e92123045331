"""Pages through `rich`: tables and a little colour on a terminal, the plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from shoal.pages.blocks import Block, Cell, Grid, Heading, Lines, Pairs, plain


@dataclass(frozen=True)
class Rendered:
    """A page that `Console.print` takes."""

    blocks: Sequence[Block]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.is_terminal:
            for index, block in enumerate(self.blocks):
                yield from _renderables(block, first=index == 0)
        else:
            for line in plain(self.blocks):
                yield Segment(line)
                yield Segment.line()


def _renderables(block: Block, *, first: bool) -> Iterable[RenderableType]:
    match block:
        case Heading(text):
            yield Text(text if first else f"\n{text}", style="bold")
        case Pairs(rows):
            yield _pairs(rows)
        case Lines(lines):
            yield Text("\n".join(lines), overflow="fold")
        case Grid():
            yield _grid(block)


def _pairs(rows: Iterable[tuple[str, str | Cell]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), _text(value))
    return table


def _grid(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in grid.columns:
        table.add_column(Text(column.title), justify="right" if column.right else "left", overflow="fold")
    for row in grid.rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _text(cell: str | Cell) -> Text:
    return Text(cell.text, style=cell.style) if isinstance(cell, Cell) else Text(cell)
