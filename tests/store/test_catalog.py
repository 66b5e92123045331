from __future__ import annotations

from pathlib import Path

import pytest
from tests.synthetic import make_run, signature

from shoal.errors import StoreError
from shoal.store import RunLock, create, record, set_aside, summaries
from shoal.store.catalog import as_result
from shoal.store.layout import RunId


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_no_folder_and_no_runs_are_the_same(runs: Path) -> None:
    assert summaries(runs) == []
    runs.mkdir()
    assert summaries(runs) == []


def test_a_runs_folder_that_is_a_file_is_named(runs: Path) -> None:
    runs.write_text("")
    with pytest.raises(StoreError, match="cannot read the runs folder"):
        summaries(runs)


def test_a_summary_says_what_a_list_shows(runs: Path) -> None:
    folder = make_run(runs, seed=1, metrics={"test.accuracy": 0.5}, started="2026-01-01T00:00:00Z", seconds=1.5)
    (summary,) = summaries(runs)
    assert (summary.folder, summary.label, summary.name, summary.seed) == (folder, folder.label, "digits", 1)
    assert (summary.signature, summary.status, summary.steps) == (signature("digits"), "finished", 40)
    assert summary.metrics == {"test.accuracy": 0.5}
    assert (summary.started, summary.seconds, summary.reason) == ("2026-01-01T00:00:00Z", 1.5, None)
    assert as_result(summary) == record.result(folder)


def test_runs_are_in_the_order_of_labels_and_seeds(runs: Path) -> None:
    for name, seed in [("b", 10), ("b", 9), ("a", 0)]:
        make_run(runs, name, seed)
    assert [(summary.name, summary.seed) for summary in summaries(runs)] == [("a", 0), ("b", 9), ("b", 10)]


def test_an_unfinished_run_shows_the_latest_of_its_history(runs: Path) -> None:
    folder = make_run(runs, status="running", steps=None, metrics={}, history=3)
    with RunLock(folder):
        (summary,) = summaries(runs)
    assert (summary.status, summary.steps) == ("running", 3)
    assert summary.metrics == {
        "train.loss": pytest.approx(2 / 3),
        "train.accuracy": pytest.approx(2 / 3),
        "valid.loss": 1.0,
    }
    (summary,) = summaries(runs)
    assert summary.status == "killed"


def test_a_run_that_has_not_begun_is_queued(runs: Path) -> None:
    create(runs, RunId("digits", signature("digits"), 0))
    (summary,) = summaries(runs)
    assert (summary.status, summary.name, summary.signature) == ("queued", "digits", signature("digits")[:12])


def test_what_is_no_run_is_left_out(runs: Path) -> None:
    folder = make_run(runs)
    set_aside(folder)
    make_run(runs, seed=1)
    for path in ("notes/seed-1", ".sweeps/seed-1", "digits-0123456789ab/seed-x", "digits-0123456789ab/best"):
        (runs / path).mkdir(parents=True)
    (runs / "file").write_text("")
    (runs / "link").symlink_to(folder.path.parent)
    assert [summary.seed for summary in summaries(runs)] == [1]


@pytest.mark.parametrize("content", ["{", '{"format": 9}', "[]"])
def test_a_record_that_cannot_be_read_hides_no_other_run(runs: Path, content: str) -> None:
    make_run(runs, "broken").record.write_text(content)
    make_run(runs, "good")
    broken, good = summaries(runs)
    assert "reason" not in as_result(good)
    assert as_result(broken)["reason"] == broken.reason
    assert (broken.status, good.status) == ("unreadable", "finished")
    assert "run.json" in str(broken.reason)


def test_values_of_other_types_are_ignored(runs: Path) -> None:
    make_run(runs, steps="many", metrics={"test.accuracy": 0.5}, started=3, reason=["x"], total_steps=True)
    (summary,) = summaries(runs)
    assert (summary.steps, summary.started, summary.reason, summary.total_steps) == (0, None, None, None)
