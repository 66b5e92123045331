from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console

from shoal.pages.blocks import Block, Cell, Column, Grid, Heading, Lines, Pairs, plain, width
from shoal.pages.rendered import Rendered

PAGE: Sequence[Block] = (
    Heading("a run"),
    Pairs([("status", Cell("✓ finished", "green")), ("note", "[red]not markup[/red] :smile:")]),
    Heading("metrics"),
    Grid([Column("metric"), Column("test", right=True)], [["loss", "0.1"], ["accuracy", "0.98765"]]),
    Lines(["as  it", "  is"]),
)


def rendered(blocks: Sequence[Block], *, terminal: bool, columns: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, force_terminal=terminal, width=columns, soft_wrap=not terminal).print(Rendered(blocks))
    return file.getvalue()


def test_a_plain_page_is_aligned_lines() -> None:
    assert plain(PAGE) == [
        "a run",
        "status  ✓ finished",
        "note    [red]not markup[/red] :smile:",
        "",
        "metrics",
        "metric       test",
        "loss          0.1",
        "accuracy  0.98765",
        "as  it",
        "  is",
    ]


def test_a_grid_without_header_names_its_values() -> None:
    grid = Grid([Column("run"), Column("test.loss", right=True, named=True)], [["a", "1"], ["bcd", "22"]], header=False)
    assert plain([grid]) == ["a    test.loss=1", "bcd  test.loss=22"]


def test_wide_characters_are_aligned() -> None:
    assert width("漢字") == 4
    assert width("e\u0301") == 1
    assert plain([Pairs([("漢字", "x"), ("abcd", "y")])]) == ["漢字  x", "abcd  y"]


def test_an_empty_page_and_an_empty_grid_print_nothing() -> None:
    assert plain([]) == []
    assert plain([Grid([Column("a")], [], header=False), Pairs([])]) == []
    assert rendered([Pairs([])], terminal=True).strip() == ""


def test_in_a_pipe_the_console_prints_the_plain_lines_uncut() -> None:
    long = "x" * 300
    assert rendered([*PAGE, Lines([long])], terminal=False) == "".join(f"{line}\n" for line in [*plain(PAGE), long])


def test_on_a_terminal_text_is_never_markup() -> None:
    shown = rendered(PAGE, terminal=True)
    assert "[red]not markup[/red] :smile:" in shown
    assert "─" in shown


def test_a_spare_column_is_shortened_and_then_left_out() -> None:
    columns = [Column("run"), Column("reason", spare=True)]
    rows = [["r" * 30, "because " * 10], ["s" * 30, ""]]
    wide, narrow, tight = (rendered([Grid(columns, rows)], terminal=True, columns=size) for size in (200, 60, 40))
    assert "because " * 10 in wide
    assert "…" in narrow
    assert "reason" not in tight
    assert all(len(line.rstrip()) <= 60 for line in narrow.splitlines() if "\x1b" not in line)
    assert "r" * 30 in tight
