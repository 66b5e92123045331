"""The page of many runs: what it shows without its script, in every state of a sweep; nothing in it can act."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.pages.test_markup import EVIL, Seen
from tests.synthetic import make_run
from tests.synthetic_sweep import GRID, make_sweep

from shoal.analysis import of_runs
from shoal.errors import InputError
from shoal.pages.bundles import MOST_NUMBERS
from shoal.pages.sweep_report import sweep_report
from shoal.pages.sweep_view import view_of, view_of_sweep
from shoal.store import Journal, RunFolder
from shoal.store.sweeps import Sweep

SMALL: dict[str, Any] = {"optimizer.lr": [0.01, 0.1, 1.0], "model.width": [16, 64]}
STATES = {(0, 0): "failed", (1, 1): "unreadable", (2, 2): "queued", (3, 0): "killed"}


def page_of(runs: Path, sweep: Sweep) -> str:
    return sweep_report(view_of_sweep(runs, sweep), now=datetime(2026, 1, 2, 3, 4))


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="sweep">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def rows_of(page: str, table: str) -> list[str]:
    """The texts of a table's rows."""
    body = page.partition(f'<table id="{table}"')[2].partition("</table>")[0].partition("<tbody>")[2]
    return [Seen(row).text for row in re.split("<tr[^>]*>", body)[1:]]


def test_a_page_without_its_script_has_tables_drawings_and_words(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_sweep(tmp_path, grid=SMALL, seeds=3, states=STATES))
    text = Seen(page).text
    for part in (
        "6 experiments, 18 runs; the best first, by the mean of valid.accuracy over finished runs.",
        "shoal sweep digits_mlp --name grid",
        "The best: lr=0.1 width=64",
        "95 % interval",
        "valid.accuracy: not distinguishable: the best minus the next (lr=0.1 width=16) is",
        "The best of many was chosen by these numbers",
        "optimizer.lr0.01, 0.1, 1",
        "dataset.namedigits",
        "datad9dee91baaa8",
        "○ queued 1",
        "✓ finished 14",
        "✗ failed 1",
        "† killed 1",
        "? unreadable 1",
        "the loss was nan at step 507: lower optimizer.lr",
        "is damaged: it is not JSON",
        "Made by shoal report from the runs' folders, 2026-01-02 03:04.",
    ):
        assert part in text, part
    experiments, runs = rows_of(page, "experiments"), rows_of(page, "runs")
    assert (len(experiments), len(runs)) == (6, 18)
    assert experiments[0].startswith("10.164")
    assert any("2 finished, 1 failed" in row for row in experiments)
    assert sum("✓ finished" in row for row in runs) == 14
    labels = re.findall(r'aria-label="([^"]*)"', page)
    assert "valid.accuracy of the best experiments: means, and bands from least to largest" in labels
    assert any(one.startswith("valid.accuracy of 14 runs: the mean is best at optimizer.lr=0.1") for one in labels)
    assert any(one.startswith("test.loss over optimizer.lr and model.width: from") for one in labels)
    assert page.count('class="band c') == 6


def test_the_numbers_of_the_script_are_those_of_the_runs(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, grid=SMALL, seeds=2, epochs=10)
    data = data_of(page_of(tmp_path, sweep))
    view = view_of_sweep(tmp_path, sweep)
    best = view.experiments[0]
    assert data["experiments"][0]["name"] == view.names[0] == "lr=0.1 width=64"
    assert data["experiments"][0]["seeds"] == [0, 1]
    at = [one["name"] for one in data["metrics"]].index("valid.accuracy")
    values = list(best.results("valid.accuracy").values())
    assert data["experiments"][0]["results"][at][0] == pytest.approx(sum(values) / 2)
    (curve,) = (one for one in data["curves"] if one["name"] == "valid.accuracy")
    grid, runs = curve["bundles"][0]
    assert data["grids"][grid] == [39 * epoch for epoch in range(1, 11)]
    assert runs[0][-1] == pytest.approx(values[0], rel=1e-3)
    assert [axis["log"] for axis in data["axes"]] == [True, False]


def test_the_page_of_200_runs_is_small_and_long_curves_are_thinned(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_sweep(tmp_path, grid=GRID, epochs=200))
    assert len(page.encode()) < 3_000_000
    sweep = make_sweep(tmp_path / "long", grid={"optimizer.lr": [0.01, 0.1]}, seeds=2, epochs=3000)
    data = data_of(page_of(tmp_path / "long", sweep))
    lengths = {len(run) for curve in data["curves"] for _, runs in curve["bundles"] for run in runs}
    assert lengths == {200}
    assert {grid[0] for grid in data["grids"]} == {39}
    assert {grid[-1] for grid in data["grids"]} == {39 * 3000}
    assert MOST_NUMBERS > 200 * 5 * 200  # 200 runs with five metrics keep all their points


def test_a_page_is_one_file_and_lets_nothing_load_or_run(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_sweep(tmp_path, grid=SMALL, seeds=2, epochs=5))
    policy = html.unescape(re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[0])
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    outside = re.findall(r'(?:src|href|action|url)\s*[=(]\s*"?([^"\s)]+)', page)
    assert not [link for link in outside if not link.startswith("#")]
    assert not re.search(r"\son\w+=", page.partition("<script>")[0])
    assert "innerHTML" not in script


HOSTILE = [EVIL, "=HYPERLINK(1)", "</script><img src=x onerror=alert(1)>", "\x1b[31m\u202e", "<!--<script>"]


@pytest.mark.parametrize("place", ["value", "key", "reason", "metric", "command", "name", "row", "plan"])
def test_nothing_in_a_sweep_becomes_markup(tmp_path: Path, place: str) -> None:
    plain = page_of(
        tmp_path / "a", make_sweep(tmp_path / "a", grid={"a.b": ["w", "x", "y", "z", "v"]}, seeds=2, epochs=4)
    )
    runs = tmp_path / "b"
    grid: dict[str, Any] = {"a.b": HOSTILE if place == "value" else ["w", "x", "y", "z", "v"]}
    if place == "key":
        grid = {f"a.{EVIL}": ["w", "x", "y", "z", "v"]}
    sweep = make_sweep(runs, grid=grid, seeds=2, epochs=4)
    for folder in runs.glob("digits*/seed-*"):
        run = RunFolder(folder)
        known = json.loads(run.record.read_text())
        if place == "reason":
            known |= {"status": "failed", "reason": EVIL}
        elif place == "metric":
            known["metrics"] = {f"valid.{EVIL}": 0.5, **known["metrics"]}
        elif place == "name":
            known["name"] = EVIL
        elif place == "plan":
            known |= {"plan": {EVIL: EVIL}, "host": EVIL, "data": {"sizes": {EVIL: 1}}}
        run.record.write_text(json.dumps(known))
        if place == "row":
            with Journal(run.history) as history:
                history.append({"step": 1, f"valid.{EVIL}": 1.0})
    if place == "command":
        sweep = replace(sweep, command=EVIL)
    page = page_of(runs, sweep)
    seen = Seen(page)
    assert seen.tags.count("script") == Seen(plain).tags.count("script") == 2
    assert not {"img", "b\x00"} & set(seen.tags)
    assert not set("\x00\x1b\u202e") & set(page)
    assert "<" not in re.findall(r'id="sweep">(.*?)</script>', page, re.DOTALL)[0]
    data_of(page)


def test_a_sweep_that_is_queued_is_shown(tmp_path: Path) -> None:
    states = {(at, seed): "queued" for at in range(6) for seed in range(2)}
    page = page_of(tmp_path, make_sweep(tmp_path, grid=SMALL, seeds=2, states=states))
    text = Seen(page).text
    for part in (
        "No run is finished yet",
        "No run has a history yet.",
        "○ queued 12",
        "optimizer.lr0.01, 0.1, 1",
        "budget.epochs40",
    ):
        assert part in text, part
    assert len(rows_of(page, "experiments")) == 6
    assert data_of(page)["curves"] == []


def test_an_empty_sweep_is_refused(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, grid={"model.width": []})
    with pytest.raises(InputError, match="the sweep 'grid' has no runs: there is nothing to show"):
        view_of_sweep(tmp_path, sweep)


def test_points_that_are_listed_no_longer_are_left_out(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, grid=SMALL, seeds=2, epochs=4)
    left = tuple(replace(point, listed=point.values["model.width"] == 16) for point in sweep.points)
    text = Seen(page_of(tmp_path, replace(sweep, points=left))).text
    assert "3 experiments, 6 runs" in text
    assert "6 runs that the sweep no longer lists are left out." in text


@pytest.mark.parametrize(
    "metrics",
    [
        {"valid.loss": float("nan"), "valid.accuracy": float("inf")},
        {"valid.loss": None},
        {"valid.loss": 1e308, "valid.accuracy": -1e308},
        {"valid.loss": 10**400},
        {"reward": 3.5},
        {},
    ],
)
def test_results_that_are_no_numbers_break_nothing(tmp_path: Path, metrics: dict[str, Any]) -> None:
    sweep = make_sweep(tmp_path, grid=SMALL, seeds=2, epochs=4)
    for at, record in enumerate(sorted(tmp_path.glob("digits*/seed-*/run.json"))):
        if at % 3:
            record.write_text(json.dumps({**json.loads(record.read_text()), "metrics": metrics}))
    page = page_of(tmp_path, sweep)
    assert len(rows_of(page, "experiments")) == 6
    data_of(page)


def test_history_that_is_damaged_or_no_number_is_left_out_of_curves(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, grid=SMALL, seeds=2, epochs=4)
    files = sorted(tmp_path.glob("digits*/seed-*/history.jsonl"))
    files[0].write_text('{"step": 1, "valid.accuracy": null}\n{"step": 1e999, "valid.accuracy": 1}\nnot json\n')
    files[1].write_text('{"step": 2, "valid.accuracy": NaN}\n{"step": 3, "valid.accuracy": "x"}\n')
    files[2].unlink()
    data = data_of(page_of(tmp_path, sweep))
    assert {len(one["bundles"]) for one in data["curves"]} == {6}


def test_runs_that_no_sweep_has_are_shown_by_what_their_recipes_say(tmp_path: Path) -> None:
    make_sweep(tmp_path, grid=SMALL, seeds=2, epochs=4)
    other = make_run(tmp_path, "other", history=5, metrics={"valid.accuracy": 0.5})
    folders = [RunFolder(path) for path in sorted(tmp_path.glob("digits*/seed-*"))[:4]]
    page = sweep_report(view_of("a and b", of_runs([*folders, other])))
    text = Seen(page).text
    assert "3 experiments, 5 runs" in text
    assert "model.width" in text
    assert len(rows_of(page, "runs")) == 5
