from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from tests.synthetic import make_run

from shoal.pages.closing import closing
from shoal.store import record


def shown(folder: Path, *, terminal: bool, **facts: object) -> str:
    run = make_run(folder, metrics={"test.accuracy": 0.98611, "valid.loss": 0.1}, seconds=12.3, **facts)
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, color_system=None, width=200)
    console.print(closing(record.result(run), record.read(run)))
    return file.getvalue()


def test_the_closing_table_has_the_result_and_what_to_do_with_it(tmp_path: Path) -> None:
    for terminal in (True, False):
        text = shown(
            tmp_path / str(terminal), terminal=terminal, best={"metric": "valid.loss", "value": 0.1, "step": 20}
        )
        for part in (
            "0.9861",
            "40 in 12 s",
            "the best by valid.loss, of step 20",
            "shoal show ",
            "shoal test ",
            "shoal ls",
        ):
            assert part in text, part
        assert "shoal.load('" in text
        assert ("─" in text) == terminal


def test_averaged_weights_are_said_to_count(tmp_path: Path) -> None:
    metrics = {"test.accuracy": 0.98611, "test_average.accuracy": 0.98722}
    run = make_run(tmp_path, metrics=metrics, identity={"recipe": {"average": {"name": "ema"}}})
    file = io.StringIO()
    Console(file=file, width=200).print(closing(record.result(run), record.read(run)))
    text = file.getvalue()
    assert "accuracy  0.9861         0.9872" in text
    assert "weights    averaged (ema); weights=raw takes the last ones" in text


def test_a_run_without_metrics_closes_too(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    shown = io.StringIO()
    Console(file=shown).print(closing(record.result(run), {}))
    assert run.label in shown.getvalue()


def test_foreign_text_does_not_act(tmp_path: Path) -> None:
    text = shown(tmp_path, terminal=True, reason="\x1b[2J[bold]x")
    assert "\x1b[2J" not in text
    assert r"\x1b[2J[bold]x" in text


def test_what_one_does_next_fits_the_data(tmp_path: Path) -> None:
    text = {"sizes": {"train": 9, "valid": 1}, "encoding": {"kind": "text"}}
    shown_text = shown(tmp_path / "text", terminal=False, data=text)
    assert "split=valid" in shown_text
    assert "'A TEXT'" in shown_text
    pictures = {"sizes": {"train": 9, "test": 1}, "encoding": {"kind": "image"}}
    shown_pictures = shown(tmp_path / "image", terminal=False, data=pictures)
    assert "split=valid" not in shown_pictures
    assert "PICTURE" in shown_pictures
