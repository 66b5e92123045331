"""A program by hand that ends at any file-system event of its life goes on to the same bits.

SHOAL_ALL_CRASH_POINTS=1 tries every event; without it, some, always the same.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from shoal.store.layout import FILES
from tests.api.programs import gan
from tests.faults.chaos import result, verified
from tests.faults.crash import crash

STRIDE = 1 if os.environ.get("SHOAL_ALL_CRASH_POINTS") else 23


@pytest.mark.faults
def test_at_whatever_event_a_program_ends_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    gan(tmp_path / "alone")
    expected = result(tmp_path / "alone")
    at, crashed = 0, True
    while crashed:
        runs = tmp_path / str(at)
        crashed = crash(partial(gan, runs), at=at, under=runs)
        if crashed:
            crash(partial(gan, runs), at=at // 2, under=runs)
        verified(runs)
        run = gan(runs)
        found = result(runs)
        assert [name for name in expected if found.get(name) != expected[name]] == [], at
        assert {path.name for path in run.folder.iterdir()} <= FILES, at
        assert all(path.suffix == "" for path in (run.folder / "checkpoints").iterdir()), at
        at += STRIDE
    assert at > 100
