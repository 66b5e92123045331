from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run, signature

from shoal.errors import StoreError
from shoal.store import RunLock, create, record, set_aside, summaries, sweeps
from shoal.store.catalog import as_result, of_sweep, summary_of
from shoal.store.index import afresh
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


def test_a_run_that_ends_while_it_is_looked_at_is_not_called_killed(runs: Path) -> None:
    folder = make_run(runs, metrics={"test.accuracy": 0.5})

    def late(path: str, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        return {"status": "running"} if path.endswith("run.json") else afresh(path, read)

    found = summary_of(folder, late)
    assert found is not None
    assert (found.status, found.metrics) == ("finished", {"test.accuracy": 0.5})


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


def test_the_runs_of_a_sweep_are_known_by_signature_and_seed(runs: Path) -> None:
    for name, seed in (("a", 0), ("a", 1), ("b", 0)):
        make_run(runs, name, seed)
    create(runs, RunId("queued", signature("q"), 3))
    like_b = signature("b")[:12] + "0" * 20
    points = [sweeps.Point("", sign, seed) for sign, seed in ((signature("a"), 1), (like_b, 0), (signature("q"), 3))]
    (runs / f"b-{signature('b')[:12]}").rename(runs / "renamed")
    (runs / f"a-{signature('a')[:12]}").rename(runs / "another")
    found = of_sweep(summaries(runs), sweeps.Sweep("some", points=tuple(points)))
    assert [run.label.partition("-")[0] for run in found] == ["another/seed", "queued"]
