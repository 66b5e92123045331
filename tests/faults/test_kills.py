"""A run killed at random instants, any number of times, ends byte for byte as the run that was left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DROPOUT = ["model.dropout=0.2", "optimizer=adamw", "schedules.lr.warmup_steps=20", "log.every=25"]
WATCHED = ["best.metric=valid.loss", "early_stop.patience=4", "checkpoint.every=0.4"]
AVERAGED = ["average=ema", "average.decay=0.9", "best.metric=valid_average.accuracy", "regularise.clip_percentile=90"]


@pytest.mark.faults
@pytest.mark.parametrize(
    ("kills", "words"),
    [
        (20, ["budget.epochs=6", *WATCHED]),
        (8, ["budget.epochs=3", "checkpoint.every=0.2", *DROPOUT]),
        (6, ["budget.epochs=3", "checkpoint.every=0.2", *DROPOUT, *AVERAGED, "execution=captured"]),
        (6, ["budget.epochs=3", "checkpoint.every=0.2", "model.norm=batch", *AVERAGED, "execution=eager"]),
    ],
    ids=["best weights and early stop", "dropout and AdamW", "captured", "averaged"],
)
def test_kills_at_random_leave_no_byte_changed(kills: int, words: list[str]) -> None:
    command = [sys.executable, "-m", "tests.faults.chaos", "--kills", str(kills), "--json", "--seed", "1"]
    for word in words:
        command += ["--set", word]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr + done.stdout
    outcome = json.loads(done.stdout)
    assert outcome["kills"] == kills
    assert outcome["bytes_differing"] == 0
