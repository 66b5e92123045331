from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import StoreError
from shoal.store import Journal, last_row, latest, read_journal
from shoal.store.journal import unreadable

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ROWS = st.lists(st.dictionaries(st.text(max_size=20), VALUES, max_size=5), max_size=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with Journal(path) as journal:
        for row in rows:
            journal.append(row)


def test_rows_are_lines_of_json_in_order(path: Path) -> None:
    write(path, [{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("inf")}])
    assert path.read_text() == '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": null}\n'
    assert read_journal(path) == ([{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}], 0)


def test_each_row_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: (written.append(data), real(handle, data))[1])
    write(path, [{"text": "x" * 100_000}])
    assert len(written) == 1


def test_a_missing_journal_has_no_rows(path: Path) -> None:
    assert read_journal(path) == ([], 0)
    assert last_row(path) is None
    assert latest(path) == {}


@given(rows=ROWS)
def test_what_was_appended_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("journal") / "history.jsonl"
    write(path, rows)
    assert read_journal(path) == (rows, 0)
    assert last_row(path) == (rows[-1] if rows else None)


@given(rows=ROWS.filter(bool), data=st.data())
def test_a_journal_torn_anywhere_loses_only_its_last_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "history.jsonl"
    write(path, rows)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].rpartition(b"\n")
    kept = rows[: content[:cut].count(b"\n")]
    assert read_journal(path) == (kept, int(bool(whole[2])))
    assert last_row(path) == (kept[-1] if kept else None)
    write(path, [{"step": "after"}])
    assert read_journal(path) == ([*kept, {"step": "after"}], 0)
    torn = path.with_name("history.jsonl.torn")
    assert (torn.read_bytes() if torn.exists() else b"") == (whole[2] + b"\n" if whole[2] else b"")


@given(content=st.binary(max_size=300))
def test_readers_tolerate_anything(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("journal") / "history.jsonl"
    path.write_bytes(content)
    rows, unreadable = read_journal(path)
    assert len(rows) + unreadable == content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    assert last_row(path) == (rows[-1] if rows else None)


def test_garbage_lines_are_counted_and_the_others_kept(path: Path) -> None:
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n[1]\n\n{"step": 2}\n{"ste')
    assert read_journal(path) == ([{"step": 1}, {"step": 2}], 4)
    assert last_row(path) == {"step": 2}


@pytest.mark.parametrize("length", [10, 4000, 4095, 4096, 4097, 20_000])
def test_the_last_row_is_found_over_any_block(path: Path, length: int) -> None:
    rows = [{"step": step, "text": "x" * length} for step in range(4)]
    write(path, rows)
    assert last_row(path) == rows[-1]
    with path.open("ab") as file:
        file.write(b"y" * length)
    assert last_row(path) == rows[-1]
    path.write_bytes(b"y" * length)
    assert last_row(path) is None


def test_only_the_tail_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, [{"step": step} for step in range(20_000)])
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, size, at: (read.append(size), real(handle, size, at))[1])
    assert last_row(path) == {"step": 19_999}
    assert sum(read) <= 4096


def test_the_latest_values_come_from_the_last_rows(path: Path) -> None:
    write(path, [{"step": 1, "valid.loss": 3.0}, {"step": 2, "valid.loss": 2.0}, {"step": 3, "train.loss": 1.0}])
    assert latest(path) == {"step": 3, "valid.loss": 2.0, "train.loss": 1.0}


def test_cutting_drops_later_rows_and_goes_on_from_there(path: Path) -> None:
    with Journal(path) as journal:
        journal.append({"step": 1})
        offset = journal.size()
        journal.append({"step": 2})
        journal.sync()
        journal.cut(offset)
        assert journal.size() == offset
        journal.append({"step": 3})
        journal.cut(journal.size())
    assert read_journal(path)[0] == [{"step": 1}, {"step": 3}]
    with Journal(path) as journal:
        journal.cut(0)
    assert path.read_bytes() == b""


def test_a_journal_shorter_than_its_checkpoint_says_so(path: Path) -> None:
    with Journal(path) as journal:
        journal.append({"step": 1})
        with pytest.raises(StoreError, match=r"has 12 bytes and the checkpoint was saved at 1,000: rows were lost"):
            journal.cut(1000)
        with pytest.raises(StoreError, match="no line ends at byte 5"):
            journal.cut(5)
        with pytest.raises(StoreError):
            journal.cut(-1)
    assert path.read_bytes() == b'{"step": 1}\n'


def test_a_row_that_the_disk_takes_only_in_part_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        journal.append({"step": 1})
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:5]))
        with pytest.raises(OSError, match="No space left"):
            journal.append({"step": 2})
        monkeypatch.undo()
        journal.append({"step": 3})
    assert read_journal(path) == ([{"step": 1}, {"step": 3}], 0)


def test_a_journal_is_closed_once(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    journal.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        journal.append({"step": 1})


WRITER = """
import sys
from pathlib import Path
from shoal.store import Journal
journal = Journal(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for step in range(10_000_000):
    journal.append({"writer": sys.argv[2], "step": step, "text": "x" * 200})
    if sys.argv[3] == "some" and step == 499:
        break
"""


def start(path: Path, name: str, amount: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, amount]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process


def test_a_killed_writer_leaves_whole_lines_in_order(path: Path) -> None:
    expected = 0
    for _ in range(3):
        process = start(path, "one", "all")
        size = path.stat().st_size
        while path.stat().st_size < size + 50_000:
            pass
        process.kill()
        process.communicate()
        with Journal(path) as journal:
            journal.sync()
        rows, unreadable = read_journal(path)
        assert unreadable == 0
        assert len(rows) > expected
        steps = [row["step"] for row in rows[expected:]]
        assert steps == list(range(len(steps)))
        expected = len(rows)


def test_two_appenders_keep_their_lines_whole(path: Path) -> None:
    processes = [start(path, name, "some") for name in ("one", "two")]
    for process in processes:
        process.communicate()
    rows, unreadable = read_journal(path)
    assert unreadable == 0
    for name in ("one", "two"):
        assert [row["step"] for row in rows if row["writer"] == name] == list(range(500))


def test_rows_are_strict_json(path: Path) -> None:
    write(path, [{"a": float("nan"), "b": [float("-inf")], "c": "\u2028\x1b"}])
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"a": None, "b": [None], "c": "\u2028\x1b"}


def test_lines_that_cannot_be_read_are_known_by_their_numbers(path: Path) -> None:
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n[1]\n\n{"step": 2}\n{"ste')
    assert unreadable(path) == "4 lines (2, 3, 4, 6)"
    path.write_bytes(b'{"step": 1}\n' + b"x\n" * 1000)
    assert unreadable(path) == "1,000 lines (2, 3, 4, 5, 6, ...)"
    path.write_bytes(b"x")
    assert unreadable(path) == "1 line (1)"
    assert unreadable(path.with_name("missing")) == ""
