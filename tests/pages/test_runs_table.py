from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from tests.synthetic import make_run, signature

from shoal.pages.blocks import plain
from shoal.pages.rendered import Rendered
from shoal.pages.runs_table import runs_grid, usual_metrics
from shoal.store import summaries


def test_a_run_is_a_line(tmp_path: Path) -> None:
    make_run(tmp_path, "a", metrics={"test.accuracy": 0.98611, "test.loss": 0.1}, started="2026-01-01T12:00:00")
    make_run(tmp_path, "b", status="failed", steps=7, reason="NaN: loss\nmore", started="2026-01-01T12:00:00")
    runs = summaries(tmp_path)
    assert plain([runs_grid(runs, ["test.accuracy"])]) == [
        f"✓ finished  a-{signature('a')[:12]}/seed-0    40  test.accuracy=0.9861  2026-01-01 12:00",
        f"✗ failed    b-{signature('b')[:12]}/seed-0  7/40  test.accuracy=-       2026-01-01 12:00  NaN: loss",
    ]


def test_foreign_text_neither_acts_nor_breaks_the_line(tmp_path: Path) -> None:
    make_run(tmp_path, status="failed", reason="\x1b[2J[bold]\r", metrics={"test.\x1b[1m": 1.0})
    (line,) = plain([runs_grid(summaries(tmp_path), ["test.\x1b[1m"])])
    assert "\x1b" not in line
    assert r"\x1b[2J[bold]" in line
    assert r"test.\x1b[1m=1.000" in line


def test_the_usual_metrics_say_most_about_test_and_valid(tmp_path: Path) -> None:
    metrics = {"train.loss": 1.0, "valid.loss": 1.0, "valid.accuracy": 1.0, "test.top5": 1.0, "test.accuracy": 1.0}
    make_run(tmp_path, metrics=metrics)
    assert usual_metrics(summaries(tmp_path)) == ["test.accuracy", "valid.accuracy"]
    averaged = {"test_average.accuracy": 1.0, "valid_average.accuracy": 1.0, "test_average.top5": 1.0}
    make_run(tmp_path, "averaged", metrics=averaged)
    assert usual_metrics(summaries(tmp_path)) == ["test.accuracy", "test_average.accuracy", "valid.accuracy"]
    make_run(tmp_path / "two", metrics={"valid.loss": 1.0, "valid.r2": 1.0, "test.loss": 1.0})
    assert usual_metrics(summaries(tmp_path / "two")) == ["test.loss", "valid.r2"]
    make_run(tmp_path / "two", "best", metrics={"valid_average.r2": 1.0})
    assert usual_metrics(summaries(tmp_path / "two")) == ["test.loss", "valid.r2", "valid_average.r2"]


def test_a_narrow_terminal_leaves_averaged_weights_out_before_it_breaks_labels(tmp_path: Path) -> None:
    metrics = {"test.accuracy": 0.98611, "test_average.accuracy": 0.98722, "valid.accuracy": 0.97}
    run = make_run(tmp_path, metrics=metrics, started="2026-01-01T12:00:00")
    found = summaries(tmp_path)
    for width, there in ((100, True), (84, False)):
        file = io.StringIO()
        console = Console(file=file, force_terminal=True, color_system=None, width=width)
        console.print(Rendered([runs_grid(found, usual_metrics(found))]))
        assert ("0.9872" in file.getvalue()) == there
        assert ("average." in file.getvalue()) == there
        assert run.label in file.getvalue()
