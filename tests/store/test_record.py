from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.synthetic import holder, make_run, signature

from shoal.errors import StoreError
from shoal.store import RunFolder, RunLock, record


def test_there_is_nothing_before_the_first_update(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "missing")
    assert record.read(folder) == {}
    assert record.status(folder) == "queued"


def test_an_update_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    record.update(folder, status="running", steps=1)
    assert record.update(folder, steps=2) == {"format": 1, "status": "running", "steps": 2}
    assert record.read(folder) == {"format": 1, "status": "running", "steps": 2}
    assert folder.record.read_text() == '{\n "format": 1,\n "status": "running",\n "steps": 2\n}\n'


def test_room_is_reserved_for_the_last_word(tmp_path: Path) -> None:
    folder = make_run(tmp_path, status="running", notes="x" * 100_000)
    record.reserve(folder)
    status = folder.reserve.stat()
    assert status.st_blocks * 512 >= status.st_size >= 2 * folder.record.stat().st_size
    assert record.conclude(folder, status="failed") == record.read(folder)
    assert not folder.reserve.exists()
    assert record.conclude(folder, reason="twice")["reason"] == "twice"


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    record.update(RunFolder(tmp_path), metrics={"valid.loss": math.nan})
    assert record.read(RunFolder(tmp_path))["metrics"] == {"valid.loss": None}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"format": "1"}', "\xff\xfe", "[" * 100_000])
def test_a_damaged_record_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="latin-1")
    with pytest.raises(StoreError, match=r"run\.json' is damaged: .*Restore it from a copy"):
        record.read(RunFolder(tmp_path))
    with pytest.raises(StoreError):
        record.update(RunFolder(tmp_path), status="running")
    assert (tmp_path / "run.json").read_text(encoding="latin-1") == content


def test_a_newer_record_asks_for_a_newer_shoal(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(StoreError, match=r"of format 2, newer than this Shoal reads \(1\): upgrade"):
        record.read(RunFolder(tmp_path))


def test_a_running_run_is_running_only_while_its_process_is(tmp_path: Path) -> None:
    folder = make_run(tmp_path, status="running")
    assert record.status(folder) == "killed"
    with RunLock(folder):
        assert record.status(folder) == "running"
    with holder(folder) as process:
        assert record.status(folder) == "running"
        process.kill()
        process.wait()
        assert record.status(folder) == "killed"


@pytest.mark.parametrize("status", ["queued", "finished", "failed", "stopped"])
def test_any_other_status_is_as_recorded(tmp_path: Path, status: str) -> None:
    assert record.status(make_run(tmp_path, status=status)) == status


def test_the_result_is_the_contracts_object(tmp_path: Path) -> None:
    folder = make_run(tmp_path, seed=2, metrics={"test.accuracy": 0.98})
    assert record.result(folder) == {
        "run": f"digits-{signature('digits')[:12]}/seed-2",
        "signature": signature("digits"),
        "seed": 2,
        "status": "finished",
        "folder": str(folder.path),
        "steps": 40,
        "metrics": {"test.accuracy": 0.98},
    }
