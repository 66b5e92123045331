from __future__ import annotations

from typing import Any

import pytest

from shoal.pages.plan_facts import plan_facts, precision_of, scaled_rows

PLAN = {"engine": "solo", "execution": "captured", "device": "cpu", "threads": 1, "channels_last": True}


def test_the_plan_says_first_how_steps_are_executed() -> None:
    told = plan_facts({"plan": PLAN, "identity": {"recipe": {"precision": "bf16"}}})
    assert [name for name, _ in told] == ["execution", "device", "threads", "precision", "engine", "channels last"]
    assert dict(told)["precision"] == "bf16"
    assert dict(told)["channels last"] == "yes"
    skipping = plan_facts({"plan": PLAN, "skipped_updates": 1200})
    assert skipping[-1] == ("skipped", "1,200 updates, for their gradients overflowed")
    assert "skipped" not in dict(plan_facts({"plan": PLAN, "skipped_updates": 0}))
    changed = plan_facts({"plan": PLAN, "replanned": ["torch 2.10 -> 2.13", "device cuda:0 -> cpu"]})
    assert changed[-1] == ("changed on the way", "torch 2.10 -> 2.13, device cuda:0 -> cpu")


def test_what_identity_leaves_out_is_float32() -> None:
    assert precision_of({"identity": {"recipe": {"batch_size": 32}}}) == "fp32"


def test_a_note_stays_and_a_change_has_eight_digits() -> None:
    changes = [
        {"key": "optimizer.lr", "before": 0.003, "after": 0.004242640687, "why": "square root"},
        {"key": "budget.steps", "before": 100, "after": 100, "why": "a note"},
    ]
    rows = scaled_rows({"scaled": changes})
    assert rows[0] == ("optimizer.lr", "0.003", "0.0042426407", "square root")
    assert rows[1] == ("budget.steps", "100", "stays", "a note")


@pytest.mark.parametrize("odd", [None, 3, "x", [1, {}], {"key": 1}])
def test_odd_records_are_told_without_an_error(odd: Any) -> None:
    assert plan_facts({"plan": None if isinstance(odd, dict) else odd, "scaled": odd}) == []
    assert scaled_rows({"scaled": odd}) == ([("None", "None", "stays", "None")] if isinstance(odd, list) else [])


def test_foreign_text_does_not_act() -> None:
    evil = "\x1b[2J"
    shown = [
        *plan_facts({"plan": {evil: evil, "device": evil}, "replanned": [evil]}),
        *scaled_rows({"scaled": [{"key": evil, "why": evil}]}),
    ]
    assert not any(evil in text for row in shown for text in row)
