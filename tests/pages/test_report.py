"""The page of a run in every state, and that nothing in a run can act on it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.pages.test_markup import EVIL, Seen
from tests.pages.test_run_page import FACTS
from tests.pages.test_sample_files import CLASSES, EXAMPLE
from tests.synthetic import make_run, signature

from shoal.assembly.thumbnails import png
from shoal.errors import StoreError
from shoal.files import to_json
from shoal.pages.document import is_page
from shoal.pages.report import report
from shoal.store import Journal, RunFolder, RunLock

SAID = [{"key": "optimizer.lr", "value": 0.3, "default": 0.1}]
TIMES = {"startup": 1.0, "training": 60.0, "evaluation": 9.0, "saving": 2.0}


def full(tmp_path: Path, *, history: int = 20, **facts: Any) -> RunFolder:
    """A run with all that a page can show."""
    import numpy as np

    metrics = {"test.accuracy": 0.98, "valid.accuracy": 0.97, "valid.loss": 0.1}
    folder = make_run(tmp_path, history=history, **{"metrics": metrics, **FACTS, "said": SAID, "times": TIMES, **facts})
    folder.recipe.write_text("name: digits\noptimizer:\n  lr: 0.3\n")
    folder.log.write_text("training digits\nstep 1\n")
    with Journal(folder.timing) as timing:
        for step in range(1, history + 1):
            timing.append({"step": step, "seconds": step / 10, "examples_per_second": 1000.0 + step})
    folder.samples.mkdir()
    tiled = {**CLASSES, "some": [{**EXAMPLE, "tile": 0}], "worst": [{**EXAMPLE, "tile": 1}]}
    tiled["thumbnails"] = {"file": "thumbnails.png", "width": 4, "height": 4, "across": 12, "count": 2}
    (folder.samples / "samples.json").write_text(json.dumps(tiled))
    (folder.samples / "thumbnails.png").write_bytes(png(np.zeros((4, 48, 1), dtype=np.uint8)))
    return folder


def test_a_page_has_everything_about_a_run(tmp_path: Path) -> None:
    page = report(full(tmp_path), now=datetime(2026, 1, 2, 3, 4))
    text = Seen(page).text
    for part in (
        "digits, seed 0",
        "✓ finished 40 of 40 steps in 1 m 12 s",
        "test.accuracy0.9800",
        "Why it ended: the budget is spent",
        "valid.loss ended at its best value, 0.1500",
        "train 0.1000 at the end",
        "learning rate",
        "Of the 4 examples of test, 1 is classified wrongly. Confused most often: cat as dog (1).",
        "dog (90\xa0%)",
        "is cat (10\xa0%)",
        "optimizer.lr0.30.1",
        "The full recipe",
        "start-up1.0 s1.4%",
        "training1 m 00 s83.3%",
        signature("digits"),
        "train 1,257, test 360",
        "c0ffee, with changes that were not committed",
        "shoal train digits",
        "Made by shoal report from the run's folder, 2026-01-02 03:04.",
    ):
        assert part in text, part
    assert page.count("data:image/png;base64,") == 1
    assert page.count('href="#sheet"') == 2


def test_a_page_shows_averaged_weights_beside_the_others_and_what_was_rescaled(tmp_path: Path) -> None:
    metrics = {f"{split}.{name}": 0.5 for split in ("valid", "test") for name in ("loss", "accuracy")}
    metrics |= {name.replace(".", "_average."): 0.25 for name in metrics}
    recipe = {"average": {"name": "ema"}, "precision": "bf16"}
    scaled = [{"key": "optimizer.lr", "before": 0.1, "after": 0.4, "why": "linear scaling"}]
    plan = {"execution": "captured", "threads": 1, "channels_last": True}
    facts = {"metrics": metrics, "best": None, "identity": {"recipe": recipe}, "scaled": scaled, "plan": plan}
    folder = full(tmp_path, **facts)
    told = json.loads((folder.samples / "samples.json").read_text())
    (folder.samples / "samples.json").write_text(json.dumps({**told, "weights": "average"}))
    text = Seen(report(folder)).text
    for part in (
        "test.accuracy0.5000test_average.accuracy0.2500test.loss0.5000test_average.loss0.2500",
        "metricvalidvalid averagedtesttest averaged",
        "Weights that count: averaged (ema); weights=raw takes the last ones.",
        "Averaged weights (ema) predict and are exported",
        "Made by the averaged weights.",
        "keyin the recipetrained withwhyoptimizer.lr0.10.4linear scaling",
        "executioncaptured",
        "threads1",
        "precisionbf16",
        "channels lastyes",
    ):
        assert part in text, part


def test_a_page_is_made_of_one_file_and_lets_nothing_load_or_run(tmp_path: Path) -> None:
    page = report(full(tmp_path))
    policy = html.unescape(re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[0])
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    expected = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    assert policy == expected
    assert page.index("Content-Security-Policy") < page.index("<title>")
    outside = re.findall(r'(?:src|href|action|url)\s*[=(]\s*"?([^"\s)]+)', page)
    assert {link.partition(":")[0] for link in outside if not link.startswith("#")} <= {"data"}
    assert not re.search(r"\son\w+=", page.partition("<script>")[0])


@pytest.mark.parametrize(
    "place",
    ["name", "reason", "command", "said", "note", "metric", "plan", "labels", "log", "yaml", "split", "git", "host"],
)
def test_text_from_a_run_does_not_act(tmp_path: Path, place: str) -> None:
    facts: dict[str, Any] = {
        "name": {"name": EVIL},
        "reason": {"reason": EVIL},
        "command": {"provenance": {"command": EVIL, "versions": {EVIL: EVIL}}},
        "said": {"said": [{"key": EVIL, "value": [EVIL, {EVIL: 1}], "default": EVIL}]},
        "note": {"data": {"notes": [EVIL], "name": EVIL, "digest": EVIL, "sizes": {EVIL: EVIL}, "path": EVIL}},
        "metric": {"metrics": {f"test.{EVIL}": EVIL, EVIL: 1.0}, "best": {"metric": EVIL, "step": EVIL}},
        "plan": {"plan": {EVIL: EVIL}, "times": {EVIL: 1.0}},
        "git": {"provenance": {"git": {"commit": EVIL, "branch": EVIL}}},
        "host": {"host": EVIL, "started": EVIL, "seed": EVIL, "steps": EVIL, "parameters": EVIL},
    }.get(place, {})
    known = {key: value for key, value in facts.items() if key not in ("name", "seed", "metrics")}
    folder = full(tmp_path, **known)
    content = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps({**content, **facts}))
    if place == "labels":
        (folder.samples / "samples.json").write_text(to_json({**CLASSES, "labels": [EVIL, "b"], "split": EVIL}))
    if place == "log":
        folder.log.write_text(EVIL)
    if place == "yaml":
        folder.recipe.write_text(EVIL)
    with Journal(folder.history) as history:
        history.append({"step": 21, f"train.{EVIL}": 1.0, EVIL: 0.1})
    page = report(folder)
    body = page.partition("<body>")[2].rpartition("<script>")[0]
    assert "script" not in Seen(body).tags
    assert "<script" not in body
    assert not set("\x00\x1b\u202e") & set(page)
    assert page.count("<script>") == 1


def test_a_run_that_failed_says_why_with_its_traceback(tmp_path: Path) -> None:
    folder = full(tmp_path, status="failed", reason="ValueError: broken", metrics={})
    folder.log.write_text(
        "step 1\nfailed: first\nstep 1\nfailed: Traceback (most recent call last):\n  File x\nValueError\n"
    )
    text = Seen(report(folder)).text
    assert "✗ failed" in text
    assert "Why it failed: ValueError: broken" in text
    assert "What to do next: shoal logs" in text
    shown = text.partition("What to do next")[2].partition("Curves")[0]
    assert "Traceback (most recent call last):\n  File x" in shown
    assert "first" not in shown
    assert "The latest metrics; the run has no result yet." in text


def test_a_live_run_is_shown_as_it_is(tmp_path: Path) -> None:
    folder = full(tmp_path, status="running", reason=None, metrics={}, seconds=None, times=None)
    with RunLock(folder):
        text = Seen(report(folder)).text
    assert "▶ running" in text
    assert "valid.loss is at its best value" in text
    assert "is not recorded" in text


def test_a_run_with_next_to_nothing_says_what_is_missing(tmp_path: Path) -> None:
    text = Seen(report(make_run(tmp_path, status="queued", steps=None, total_steps=None))).text
    for part in (
        "○ queued",
        "No metrics have been recorded yet.",
        "There are no rows of history yet.",
        "This run has no samples/",
        "There is no recipe.yaml.",
        "No rates were recorded",
    ):
        assert part in text, part


def test_a_record_that_names_no_defaults_shows_what_identity_is_made_of(tmp_path: Path) -> None:
    identity = {"recipe": {"optimizer": {"name": "adamw", "lr": 0.003}, "batch_size": 32}}
    text = Seen(report(full(tmp_path, said=None, identity=identity))).text
    assert "optimizer.lr0.003" in text


def test_values_of_other_types_break_no_page(tmp_path: Path) -> None:
    odd = {key: ["odd", {"x": 1}] for key in [*FACTS, "said", "times", "identity", "host"]}
    assert "odd" in report(full(tmp_path, **odd))


def test_a_long_run_with_many_metrics_and_classes_stays_small(tmp_path: Path) -> None:
    folder = full(tmp_path, history=1)
    with Journal(folder.history) as history:
        for step in range(2, 6000):
            values = {f"{split}.metric{n}": 1.2345678 / step + n for split in ("train", "valid") for n in range(14)}
            history.append({"step": step, "epoch": step / 7, "lr": 0.1 / step, **values})
    many = {**CLASSES, "classes": 100, "labels": None, "confusion": [[12] * 100] * 100, "some": [], "worst": []}
    (folder.samples / "samples.json").write_text(json.dumps(many))
    folder.log.write_text("a line of the log\n" * 50_000)
    page = report(folder)
    assert len(page.encode()) < 1_500_000
    assert "Not drawn: " in page
    assert "The last 200 lines of 50,000" in page


def test_a_page_is_known_again(tmp_path: Path) -> None:
    page, other = tmp_path / "page.html", tmp_path / "other.html"
    page.write_text(report(full(tmp_path)))
    other.write_text("<html>mine</html>")
    assert [is_page(path) for path in (page, other, tmp_path / "none", tmp_path)] == [True, False, False, False]


def test_a_damaged_record_has_no_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.record.write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        report(folder)
