from __future__ import annotations

from pathlib import Path

import pytest
from tests.pages.test_markup import EVIL, Seen
from tests.pages.test_report import full
from tests.synthetic import make_run

from shoal.pages.notebook import progress_html, run_html, runs_html
from shoal.store import record, summaries

ACTIVE = {"script", "style", "link", "iframe", "img", "object"}


def test_a_run_shows_its_result_and_its_curves(tmp_path: Path) -> None:
    made = run_html(full(tmp_path))
    seen = Seen(made)
    for part in ("digits-", "✓ finished, 40 of 40 steps in 1 m 12 s", "0.9800", "train 0.1000 at the end"):
        assert part in seen.text, part
    assert seen.tags.count("path") >= 4
    assert not ACTIVE & set(seen.tags)


def test_a_run_without_a_result_shows_what_there_is(tmp_path: Path) -> None:
    failed = make_run(tmp_path, status="failed", reason="ValueError: x", history=3, seed=1)
    assert "✗ failed, 40 of 40 steps: ValueError: x" in Seen(run_html(failed)).text
    assert "0.6667" in Seen(run_html(failed)).text
    queued = make_run(tmp_path, status="queued", steps=None, total_steps=None)
    assert "no metrics yet" in Seen(run_html(queued)).text


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.record.write_text("{")
    assert "is damaged" in Seen(run_html(folder)).text


def test_runs_are_a_table(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, seed=seed, metrics={"test.accuracy": 0.9 + seed / 100, "test.loss": 0.1})
    runs = summaries(tmp_path)
    seen = Seen(runs_html(runs))
    assert seen.tags.count("tr") == 4
    assert "0.9200" in seen.text
    assert "test.loss" not in seen.text
    assert "test.loss" in Seen(runs_html(runs, ["test.loss"])).text
    assert "no runs" in runs_html([])


def test_a_long_list_is_cut_and_says_so(tmp_path: Path) -> None:
    make_run(tmp_path)
    assert "20 runs more" in runs_html(summaries(tmp_path) * 120)


@pytest.mark.parametrize("made", ["run", "runs", "progress"])
def test_text_from_a_run_does_not_act(tmp_path: Path, made: str) -> None:
    folder = full(tmp_path, status="failed", reason=EVIL, metrics={f"test.{EVIL}": 1.0})
    record.update(folder, name=EVIL)
    shown = {
        "run": lambda: run_html(folder),
        "runs": lambda: runs_html(summaries(tmp_path)),
        "progress": lambda: progress_html(step=1, total=2, words=EVIL, row={EVIL: EVIL}),
    }[made]()
    assert not ACTIVE & set(Seen(shown).tags)
    assert not set("\x00\x1b\u202e") & set(shown)


def test_progress_says_how_far_it_is() -> None:
    seen = Seen(progress_html(step=50, total=200, words=", 10 steps/s", row={"valid.loss": "0.5"}))
    assert (seen.attributes["value"], seen.attributes["max"]) == ("50", "200")
    assert seen.text == " step 50 of 200, 10 steps/svalid.loss 0.5"
