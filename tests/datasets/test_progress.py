"""How far a preparation is: nothing where it is quick, lines in a pipe, a bar in a terminal."""

from __future__ import annotations

import io

import pytest

from shoal.datasets import progress
from shoal.datasets.progress import counting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def counted(stream: io.StringIO) -> str:
    with counting("decoding pictures", 3_000, stream) as show:
        for done in (1_000, 2_000, 3_000):
            show(done)
    return stream.getvalue()


def test_what_is_over_at_once_says_nothing() -> None:
    assert counted(io.StringIO()) == ""


def test_a_pipe_gets_plain_lines_and_not_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    assert counted(io.StringIO()) == "decoding pictures: 1,000 of 3,000\n"
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert counted(io.StringIO()).count("\n") == 3


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    said = counted(Terminal())
    assert "decoding pictures" in said
    assert "100%" in said
    assert "\x1b[2K" in said  # the line is erased


def test_a_stream_that_went_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    assert counted(Gone()) == ""
