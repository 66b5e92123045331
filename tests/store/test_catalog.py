from __future__ import annotations

from pathlib import Path

import pytest

from shoal.errors import StoreError
from shoal.store import RunLock, create, record, resolve, set_aside, summaries
from shoal.store.catalog import as_result
from shoal.store.layout import RunId
from tests.synthetic import make_run, signature


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
    assert summary.metrics == {"train.loss": pytest.approx(2 / 3), "train.accuracy": pytest.approx(2 / 3), "valid.loss": 1.0}
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
    assert (broken.status, good.status) == ("unreadable", "finished")
    assert "run.json" in str(broken.reason)


def test_values_of_other_types_are_ignored(runs: Path) -> None:
    make_run(runs, steps="many", metrics={"test.accuracy": 0.5}, started=3, reason=["x"], total_steps=True)
    (summary,) = summaries(runs)
    assert (summary.steps, summary.started, summary.reason, summary.total_steps) == (0, None, None, None)


def test_a_run_answers_to_everything_that_names_it(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(runs, "digits", 3)
    make_run(runs, "other", 0)
    sign = signature("digits")
    label = f"digits-{sign[:12]}"
    for text in (label, f"{label}/seed-3", f"{label}/seed-3/", "digits", "digits/seed-3", sign, sign[:4], sign[:4].upper(), f"{sign[:20]}/seed-3"):
        assert resolve(runs, text) == folder, text
    for path in (folder.path, folder.path.parent):
        assert resolve(Path("elsewhere"), str(path)) == folder
        assert resolve(Path("elsewhere"), f"{path}/") == folder
    monkeypatch.chdir(folder.path)
    assert resolve(runs, ".").path.samefile(folder.path)
    assert resolve(runs, "../seed-3").label == folder.label


def test_several_seeds_are_listed(runs: Path) -> None:
    for seed in range(10):
        make_run(runs, "digits", seed)
    for text in ("digits", signature("digits")[:6], str(runs / f"digits-{signature('digits')[:12]}")):
        with pytest.raises(StoreError) as error:
            resolve(runs, text)
        assert f"{text!r} means 10 runs: digits-{signature('digits')[:12]}/seed-0, " in str(error.value)
        assert "and 2 more" in str(error.value)
    assert resolve(runs, "digits/seed-7").path.name == "seed-7"


def test_experiments_of_one_name_are_told_apart_by_signature(runs: Path) -> None:
    make_run(runs, "digits", of="a")
    second = make_run(runs, "digits", of="b")
    with pytest.raises(StoreError, match="means 2 runs"):
        resolve(runs, "digits")
    assert resolve(runs, signature("b")[:8]) == second


def test_a_name_goes_before_digits_of_a_signature(runs: Path) -> None:
    digits = signature("digits")[:4]
    make_run(runs, "digits")
    named = make_run(runs, digits)
    assert resolve(runs, digits) == named


def test_a_set_aside_run_answers_to_its_whole_label_only(runs: Path) -> None:
    aside = set_aside(make_run(runs, "digits", 0))
    anew = make_run(runs, "digits", 0)
    assert resolve(runs, "digits") == anew
    assert resolve(runs, "digits/seed-0") == anew
    assert resolve(runs, "digits/seed-0.aside-1").path == aside


@pytest.mark.parametrize("text", ["digit", "digits/seed-9", "abc", "", "..", "../..", "nul\0", "x" * 5000, "/", "~", "*"])
def test_what_names_no_run_is_said_with_the_nearest(runs: Path, text: str) -> None:
    make_run(runs, "digits", 0)
    with pytest.raises(StoreError, match=r"no run .* \(1 runs\)"):
        resolve(runs, text)
    with pytest.raises(StoreError, match="did you mean 'digits'"):
        resolve(runs, "digit")


def test_a_label_never_leaves_the_runs_folder(runs: Path) -> None:
    make_run(runs.parent / "secret", "digits", 0)
    make_run(runs, "other", 0)
    label = f"../secret/digits-{signature('digits')[:12]}/seed-0"
    with pytest.raises(StoreError, match="no run"):
        resolve(runs, label)


def test_an_empty_runs_folder_says_where_it_looked(runs: Path) -> None:
    with pytest.raises(StoreError, match=r"there are no runs in .*Name another folder with --runs DIR"):
        resolve(runs, "digits")
