"""A run killed at random instants, any number of times, ends byte for byte as the run that was left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.faults.chaos import END, SAVE, START, TRAINING, Outcome

ROOT = Path(__file__).parents[2]

DROPOUT = ["model.dropout=0.2", "optimizer=adamw", "schedules.lr.warmup_steps=20", "log.every=25"]
WATCHED = ["best.metric=valid.loss", "early_stop.patience=4", "checkpoint.every=0.4", "execution=eager"]
AVERAGED = ["average=ema", "average.decay=0.9", "best.metric=valid_average.accuracy", "regularise.clip_percentile=90"]
SHORT = ["budget.epochs=3", "checkpoint.every=0.2"]
KILLED: dict[str, tuple[int, list[str]]] = {
    "best weights and early stop": (7, ["budget.epochs=6", *WATCHED]),
    "dropout and AdamW": (6, [*SHORT, *DROPOUT, "execution=eager"]),
    "captured": (6, [*SHORT, *DROPOUT, *AVERAGED, "execution=captured"]),
    "averaged": (6, [*SHORT, "model.norm=batch", *AVERAGED, "execution=eager"]),
}
"""How often, and what: 25 kills in all."""


@pytest.fixture(scope="module")
def processes() -> Generator[dict[str, subprocess.Popen[str]]]:
    """All of them at once, for most of their time is starting."""
    started: dict[str, subprocess.Popen[str]] = {}
    for name, (kills, words) in KILLED.items():
        command = [sys.executable, "-m", "tests.faults.chaos", "--kills", str(kills), "--json", "--seed", "1"]
        command += ["--preset", "digits_mlp", *(part for word in words for part in ("--set", word))]
        started[name] = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.faults
@pytest.mark.parametrize("name", KILLED)
def test_kills_at_random_leave_no_byte_changed(name: str, processes: dict[str, subprocess.Popen[str]]) -> None:
    output, errors = processes[name].communicate(timeout=280)
    assert processes[name].returncode == 0, errors + output
    outcome = json.loads(output)
    assert outcome["kills"] == KILLED[name][0] == sum(outcome["phases"].values())
    assert outcome["bytes_differing"] == 0


def test_what_happened_is_said_in_sentences() -> None:
    told = Outcome(3, 2, 7, 12, ["killed-1/history.jsonl"], 2.0, 0.52)
    told.phases.update({START: 1, SAVE: 2})
    assert str(told).splitlines() == [
        f"3 kills survived, in 2 runs: 1 {START}, 0 {TRAINING}, 2 {SAVE}, 0 {END}",
        "7 checkpoints verified, none damaged",
        "12 bytes differ from the run that was left alone (killed-1/history.jsonl)",
        "0.52 s lost per kill; the run alone takes 2.00 s",
    ]
