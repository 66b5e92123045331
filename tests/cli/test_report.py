from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.pages.test_report import full
from tests.synthetic import make_run, signature
from tests.synthetic_sweep import make_sweep

from shoal.store import record


def test_a_page_is_named_after_its_run_in_the_current_folder(shoal: Any, runs: Path, tmp_path: Path) -> None:
    folder = full(runs)
    answer = shoal("report", "digits")
    name = f"digits-{signature('digits')[:12]}-seed-0.html"
    assert answer.code == 0
    assert answer.lines[0].startswith(f"{name} (")
    assert (tmp_path / name).read_text().startswith("<!DOCTYPE html>")
    assert {path.name for path in folder.path.iterdir()} <= {
        "recipe.yaml", "run.json", "history.jsonl", "timing.jsonl", "train.log", "samples", "lock",
    }  # fmt: skip


def test_json_names_the_file_and_the_figures(shoal: Any, runs: Path, tmp_path: Path) -> None:
    folder = make_run(runs, metrics={"test.accuracy": 0.98611}, history=5)
    (line,) = shoal("report", "digits", "-o", "new/page.html", "--figures", "drawn", "--json").lines
    told = json.loads(line)
    assert told["file"] == "new/page.html"
    assert sorted(told["figures"]) == sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "drawn").iterdir())
    assert "drawn/loss.svg" in told["figures"]
    assert told["metrics"] == record.result(folder)["metrics"]


def test_a_folder_gets_the_page_under_its_name(shoal: Any, runs: Path, tmp_path: Path) -> None:
    make_run(runs)
    (tmp_path / "pages").mkdir()
    shoal("report", "digits", "-o", "pages")
    assert [path.suffix for path in (tmp_path / "pages").iterdir()] == [".html"]


def test_a_page_is_replaced_and_any_other_file_is_refused(shoal: Any, runs: Path, tmp_path: Path) -> None:
    make_run(runs)
    target = tmp_path / "page.html"
    assert [shoal("report", "digits", "-o", target).code for _ in range(2)] == [0, 0]
    target.write_text("mine")
    answer = shoal("report", "digits", "-o", target)
    assert (answer.code, answer.out, target.read_text()) == (2, "", "mine")
    assert "is no page of Shoal's: say --force, or another -o FILE." in answer.err
    assert shoal("report", "digits", "-o", target, "--force").code == 0
    assert target.read_text() != "mine"


GRID: dict[str, Any] = {"optimizer.lr": [0.01, 0.1]}


def test_a_sweep_has_a_page_of_its_own_name_replaced_under_the_same_rule(
    shoal: Any, runs: Path, tmp_path: Path
) -> None:
    make_sweep(runs, grid=GRID, seeds=2, epochs=4)
    assert [shoal("report", "grid").lines[0].split()[0] for _ in range(2)] == ["grid.html"] * 2
    (tmp_path / "grid.html").write_text("mine")
    assert shoal("report", "grid").code == 2
    (line,) = shoal("report", "grid", "--force", "--figures", "drawn", "--json").lines
    told = json.loads(line)
    assert (told["sweep"], told["file"], len(told["runs"])) == ("grid", "grid.html", 4)
    assert "drawn/valid.accuracy_over_lr.png" in told["figures"]


@pytest.mark.parametrize(
    ("words", "file", "experiments"),
    [
        (["a", "b"], "comparison.html", 2),
        (["a"], f"a-{signature('a')[:12]}.html", 1),
        (["grid", "b"], "comparison.html", 3),
    ],
)
def test_several_runs_have_one_page(
    shoal: Any, runs: Path, tmp_path: Path, words: list[str], file: str, experiments: int
) -> None:
    for seed in range(2):
        make_run(runs, "a", seed, history=3, metrics={"valid.loss": 1.0 + seed})
        make_run(runs, "b", seed, history=3, metrics={"valid.loss": 2.0})
    make_sweep(runs, grid=GRID, seeds=2, epochs=4)
    assert shoal("report", *words).code == 0
    page = (tmp_path / file).read_text()
    assert f"{experiments} experiment" in page
    assert page.count("<tr data-e=") == experiments + 2 * experiments


def test_one_seed_of_several_has_the_page_of_a_run(shoal: Any, runs: Path, tmp_path: Path) -> None:
    for seed in range(2):
        make_run(runs, "a", seed, history=3)
    assert shoal("report", "a/seed-1").lines[0].startswith(f"a-{signature('a')[:12]}-seed-1.html")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "Nor is it a sweep: there are empty."),
        (["empty"], "the sweep 'empty' has no runs: there is nothing to show."),
        (["digts"], "did you mean 'digits'?"),
        (["digits", "-o", "file/page.html"], "cannot write 'file/page.html'"),
        (["digits", "--figures", "file"], "cannot write figures to 'file'"),
    ],
)
def test_bad_input_is_said(shoal: Any, runs: Path, tmp_path: Path, words: list[str], message: str) -> None:
    make_run(runs, history=3)
    make_sweep(runs, "empty", grid={"a": []})
    (tmp_path / "file").write_text("a file, no folder")
    answer = shoal("report", *words, "--json")
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
