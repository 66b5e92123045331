from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run

from shoal.errors import StoreError
from shoal.pages.blocks import plain
from shoal.pages.run_page import run_page
from shoal.store import Journal, RunLock

FACTS: dict[str, Any] = {
    "reason": "the budget is spent",
    "epochs": 2.0,
    "parameters": 12570,
    "best": {"metric": "valid.accuracy", "value": 0.97, "step": 20},
    "data": {"name": "digits", "digest": "abc", "sizes": {"train": 1257, "test": 360}, "notes": ["cut from train"]},
    "plan": {"engine": "solo", "device": "cpu", "threads": 2},
    "provenance": {"command": "shoal train digits", "python": "3.11", "git": {"commit": "c0ffee", "dirty": True}},
    "started": "2026-01-01T12:00:00",
    "seconds": 72.0,
    "attempts": 2,
}


def page(tmp_path: Path, **facts: Any) -> str:
    metrics = {"test.accuracy": 0.98, "valid.accuracy": 0.97, "valid.loss": 0.1}
    folder = make_run(tmp_path, history=20, **{"metrics": metrics, **FACTS, **facts})
    folder.recipe.write_text("name: digits\noptimizer:\n  lr: 0.1\n")
    (folder.checkpoints / "step-00000020").mkdir(parents=True)
    (folder.checkpoints / "step-00000020" / "engine.pt").write_bytes(b"x" * 2000)
    (folder.checkpoints / "step-00000021.tmp-7").mkdir()
    return "\n".join(plain(run_page(folder)))


def test_a_page_has_everything_about_a_run(tmp_path: Path) -> None:
    shown = page(tmp_path)
    for part in (
        "status      ✓ finished",
        "steps       40 of 40 (2 epochs)",
        "best        valid.accuracy 0.9700 at step 20",
        "parameters  12,570",
        "accuracy  0.9700  0.9800",
        "loss      0.1000       -",
        "train.loss: 2.000 → 0.1000",
        "valid.loss: 3.000 → 0.1500",
        "step 1 to 20",
        "examples  train 1,257, test 360",
        "notes     cut from train",
        "device     cpu",
        "precision  fp32",
        "commit     c0ffee, with changes that are not committed",
        "step-00000020  2.0 kB",
        "training  1 m 12 s",
        "attempts  2",
        "  lr: 0.1",
    ):
        assert part in shown, part
    assert ".tmp-7" not in shown


def test_averaged_weights_the_precision_and_what_was_rescaled_are_shown(tmp_path: Path) -> None:
    metrics = {"test.accuracy": 0.98, "test_average.accuracy": 0.99}
    recipe = {"average": {"name": "ema"}, "precision": "bf16"}
    scaled = [{"key": "optimizer.lr", "before": 0.1, "after": 0.4, "why": "linear scaling"}]
    facts = {"metrics": metrics, "best": None, "identity": {"recipe": recipe}, "scaled": scaled}
    folder = make_run(tmp_path, **{**FACTS, **facts})
    with Journal(folder.history) as history:
        for step in (1, 2):
            row = {"valid.loss": 2 / step, "valid_average.loss": 1 / step, "test_average.loss": 1.0}
            history.append({"step": step, "epoch": 1.0, **row})
    shown = "\n".join(plain(run_page(folder)))
    for part in (
        "weights     averaged (ema); weights=raw takes the last ones",
        "accuracy  0.9800         0.9900",
        "valid_average.loss: 1.000 → 0.5000",
        "precision  bf16",
        "rescaled for the batch size (scale_from)",
        "optimizer.lr     0.1           0.4  linear scaling",
    ):
        assert part in shown, part
    assert "test_average.loss:" not in shown


@pytest.mark.parametrize(
    ("status", "what"),
    [
        ("finished", "shoal test "),
        ("stopped", "the same command goes on from the last checkpoint: shoal train digits"),
        ("failed", "shoal logs "),
        ("running", "the same command goes on from the last checkpoint: shoal train digits"),
        ("queued", "it has not begun: shoal train digits"),
    ],
)
def test_a_page_says_what_to_do_next(tmp_path: Path, status: str, what: str) -> None:
    assert f"next        {what}" in page(tmp_path, status=status)


def test_a_live_run_can_be_followed(tmp_path: Path) -> None:
    with RunLock(make_run(tmp_path)):
        assert "next        shoal logs --follow " in page(tmp_path, status="running")


def test_before_there_is_a_result_the_latest_metrics_are_shown(tmp_path: Path) -> None:
    shown = page(tmp_path, status="stopped", metrics={})
    assert "latest metrics" in shown
    assert "accuracy  0.9500" in shown


def test_a_run_with_next_to_nothing_has_a_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path, status="queued", steps=None, total_steps=None)
    assert plain(run_page(folder))[0] == folder.label
    folder.record.unlink()
    assert "○ queued" in "\n".join(plain(run_page(folder)))


def test_values_of_other_types_break_no_page(tmp_path: Path) -> None:
    odd = {key: ["odd", {"x": 1}] for key in FACTS} | {"provenance": 3, "data": {"sizes": [], "notes": None}}
    assert "odd" in page(tmp_path, **{**odd, "seconds": 1.0, "started": "odd"})


def test_foreign_text_does_not_act(tmp_path: Path) -> None:
    evil = "\x1b[2J\r[red]"
    shown = page(
        tmp_path,
        reason=evil,
        signature=evil,
        metrics={f"test.{evil}": 1.0},
        plan={evil: evil},
        data={"name": evil, "notes": [evil], "sizes": {evil: 1}},
        provenance={"command": evil, "git": {"commit": evil}},
        best={"metric": evil, "value": evil, "step": evil},
    )
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert r"\x1b[2J\x0d[red]" in shown


def test_unreadable_lines_are_counted(tmp_path: Path) -> None:
    folder = make_run(tmp_path, history=3)
    with folder.history.open("ab") as file:
        file.write(b"garbage\n")
    assert "1 line (4) of history.jsonl could not be read: left out." in plain(run_page(folder))


def test_a_loss_that_was_not_finite_is_a_gap(tmp_path: Path) -> None:
    folder = make_run(tmp_path, history=2)
    with folder.history.open("ab") as file:
        file.write(b'{"step": 3, "train.loss": null}\n')
    assert any("·" in line for line in plain(run_page(folder)))


def test_a_damaged_record_has_no_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.record.write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        run_page(folder)
