from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import InputError, StoreError
from shoal.store import sweeps
from shoal.store.sweeps import Point, Sweep

POINT = Point(
    "digits-0123456789ab/seed-3", "0123456789abcdef" * 2, 3, {"optimizer.lr": 0.1}, {"optimizer.lr": 0.1, "seed": 3}
)
SWEEP = Sweep("lr", "shoal sweep ...", "2026-01-01", "2026-01-02", {"seed": 0}, ("optimizer.lr",), (POINT,), ("mine",))


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    assert sweeps.names(tmp_path) == []
    path = sweeps.write(tmp_path, SWEEP)
    assert path == tmp_path / ".sweeps" / "lr.json"
    assert sweeps.read(tmp_path, "lr") == SWEEP
    assert sweeps.names(tmp_path) == ["lr"]
    assert SWEEP.seeds == 1


def test_a_sweep_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    sweeps.write(tmp_path, SWEEP)
    with pytest.raises(StoreError, match=r"unknown sweep 'lrr': did you mean 'lr'\?"):
        sweeps.read(tmp_path, "lrr")
    with pytest.raises(InputError, match="cannot name a folder"):
        sweeps.read(tmp_path, "../lr")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "newer than this Shoal reads"),
        ({"format": None}, "does not say its format"),
        ({"points": 3}, "is no sweep's"),
        ({"points": [{"run": "a"}]}, "is no sweep's"),
        ({"points": [{"run": "a", "signature": "../..", "seed": 0}]}, "a point is 'a'"),
        ({"points": [{"run": "a", "signature": POINT.signature, "seed": "0"}]}, "a point is 'a'"),
        ({"keys": None}, "is no sweep's"),
        ({"more": 1}, "is no sweep's"),
    ],
)
def test_a_file_that_is_no_sweeps_is_told(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = sweeps.write(tmp_path, SWEEP)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StoreError, match=re.escape(said)):
        sweeps.read(tmp_path, "lr")


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "[" * 10_000])
def test_a_damaged_file_is_told_with_what_to_do(text: str, tmp_path: Path) -> None:
    sweeps.write(tmp_path, SWEEP).write_text(text)
    with pytest.raises(StoreError, match=r"is damaged: .*Run 'shoal sweep' with its words again"):
        sweeps.read(tmp_path, "lr")
