"""A wall clock that jumps, and a time zone that changes, touch nothing but the times that are written down."""

from __future__ import annotations

import itertools
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shoal.assembly import ending
from shoal.cli import main
from shoal.store import lock, read_journal
from tests.faults.attempts import QUICK, record
from tests.faults.chaos import result

JUMPS = itertools.cycle([0.0, 86_400.0, -3_600.0, -4e8, 1.0, 3e9])
"""Seconds ahead of the true time: a day, an hour back, some years in both directions."""


class Jumping(datetime):
    """A clock that is set anew whenever it is read."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(time.time(), tz)


@pytest.mark.faults
def test_a_clock_that_jumps_changes_nothing_but_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: dict[str, bytes]
) -> None:
    words = ["train", *QUICK, "--runs", str(tmp_path)]
    true, zones = time.time, itertools.cycle(["Pacific/Kiritimati", "America/St_Johns", "UTC"])

    def jumping() -> float:
        monkeypatch.setenv("TZ", next(zones))
        time.tzset()
        return true() + next(JUMPS)

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", jumping)
        for module in (ending, lock):
            patch.setattr(module, "datetime", Jumping)
        began = time.monotonic()
        assert main(words) == 0
        took = time.monotonic() - began
    monkeypatch.delenv("TZ")
    time.tzset()
    assert result(tmp_path) == alone
    (timing,) = tmp_path.glob("*/seed-0/timing.jsonl")
    rows, unreadable = read_journal(timing)
    assert (unreadable, [row["step"] for row in rows]) == (0, [10, 20, 30, 30])
    stamps = [row["time"] for row in rows]
    assert stamps != sorted(stamps), "the clock did jump"
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] <= seconds[-1] <= record(tmp_path)["seconds"] <= took
    assert all(0 <= share <= took for share in record(tmp_path)["times"].values())
    assert all(row.get("steps_per_second", 1) > 0 for row in rows)
