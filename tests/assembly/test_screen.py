"""What stands on the screen while a run trains: one line an evaluation, readable at any width."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.synthetic import make_run

from shoal.assembly.screen import Screen, broken

ROW: dict[str, Any] = {
    "step": 39,
    "epoch": 1.0,
    "lr": 0.003973,
    "train.loss": 0.6625,
    "train.clipped": 0.25,
    "valid.loss": 0.2601,
    "valid.accuracy": 0.95,
    "valid_average.loss": 0.1954,
    "valid_average.accuracy": 0.9667,
}
LINE = (
    "step 39  epoch   1.00  lr 0.003973  train.loss 0.6625  train.clipped 0.2500  "
    "valid.loss 0.2601 avg 0.1954  valid.accuracy 0.9500 avg 0.9667"
)


def lines(screen: Screen, *rows: dict[str, Any]) -> list[str]:
    screen.total = 60
    for row in rows:
        screen.row(row)
    screen.close()
    assert isinstance(screen.stream, io.StringIO)
    return screen.stream.getvalue().splitlines()


def test_averaged_weights_stand_behind_the_others_in_one_word() -> None:
    assert lines(Screen(io.StringIO()), ROW) == [LINE]


def test_before_there_is_an_average_nothing_is_said_of_it() -> None:
    before = {name: value for name, value in ROW.items() if "average" not in name}
    first, second = lines(Screen(io.StringIO()), before, ROW)
    assert "avg" not in first
    assert second.count("avg") == 2


def test_averaged_weights_alone_have_their_own_name() -> None:
    (line,) = lines(Screen(io.StringIO()), {"step": 1, "epoch": 1.0, "valid_average.loss": 0.5})
    assert "valid_average.loss 0.5000" in line


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_terminal_breaks_a_line_between_cells_and_the_log_keeps_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    screen = Screen(io.StringIO())
    assert screen.console.is_terminal
    screen.attach(make_run(tmp_path))
    shown = lines(screen, ROW)
    assert len(shown) > 1
    assert all(len(line) <= width for line in shown)
    assert all(line.startswith(" " * len("step 39  ")) for line in shown[1:])
    assert "  ".join(line.strip() for line in shown) == LINE
    assert screen.run is not None
    assert screen.run.log.read_text() == f"{LINE}\n"


@given(st.lists(st.text("ab ", min_size=1, max_size=12), min_size=1, max_size=8), st.integers(1, 60))
def test_breaking_loses_no_cell(cells: list[str], width: int) -> None:
    shown = broken(cells, width).split("\n")
    assert len(shown) <= len(cells)
    if len(shown) == 1:
        assert shown == ["  ".join(cells)]
    assert "".join(shown).replace(" ", "") == "".join(cells).replace(" ", "")
    for line in shown[1:]:
        assert len(line) <= width or line[len(cells[0]) + 2 :] in cells


def test_a_log_that_cannot_be_written_any_more_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    screen = Screen(io.StringIO())
    screen.log = Path("/dev/full").open("a", buffering=1)  # noqa: SIM115 the screen closes it
    shown = lines(screen, ROW, ROW)
    assert shown.count(LINE) == 2
    (said,) = (line for line in shown if line != LINE)
    assert said == "train.log cannot be written any more (No space left on device); nothing else depends on it."
