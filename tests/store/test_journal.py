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

from shoal.store import Journal, last_row, latest, read_journal
from shoal.store.journal import unreadable
from shoal.store.marks import Mark

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
        mark = Mark(journal.size(), journal.rows(), 1)
        journal.append({"step": 2})
        journal.sync()
        assert journal.cut(mark) is None
        assert (journal.size(), journal.rows()) == (mark.offset, 1)
        journal.append({"step": 3})
        assert journal.cut(Mark(journal.size(), journal.rows(), 3)) is None
    assert read_journal(path)[0] == [{"step": 1}, {"step": 3}]
    with Journal(path) as journal:
        journal.cut(Mark(0, 0, 0))
    assert path.read_bytes() == b""


LINES = [b'{"step": %d, "loss": 0.5}\n' % step for step in (2, 4, 6, 8)]
LATER = [b'{"step": 8, "test.loss": 0.5}\n', b'{"step": 9, "loss": 0.5}\n']
SPOILT: dict[str, tuple[list[bytes], list[int], int]] = {
    "gone": ([], [], 4),
    "another file": ([b"no rows\n", b"{}\n"], [], 4),
    "shorter by a line": (LINES[:3], [2, 4, 6], 1),
    "shorter within a line": ([*LINES[:3], LINES[3][:9]], [2, 4, 6], 1),
    "a line taken out": ([*LINES[:2], *LINES[3:], *LATER], [2, 4, 8], 1),
    "a line cut": ([LINES[0][:9] + b"\n", *LINES[1:], *LATER], [4, 6, 8], 1),
    "a line of another length": ([b'{"step": 2, "loss": 0.25}\n', *LINES[1:], *LATER], [2, 4, 6, 8], 0),
    "a line twice": ([LINES[0], *LINES, *LATER], [2, 4, 6, 8], 0),
    "a blank line": ([b"\n", *LINES, *LATER], [2, 4, 6, 8], 0),
    "the last row lost before the test": ([*LINES[:3], *LATER], [2, 4, 6], 1),
}


NOTHING_LOST = {
    "gone",
    "shorter by a line",
    "shorter within a line",
    "a line taken out",
    "a line of another length",
    "the last row lost before the test",
}
"""Where all that is left out are later rows, which are written again."""


@pytest.mark.parametrize("spoilt", SPOILT)
def test_of_a_journal_that_was_changed_since_the_mark_what_can_be_read_is_kept(spoilt: str, path: Path) -> None:
    mark = Mark(sum(map(len, LINES)), len(LINES), 8)
    lines, kept, missing = SPOILT[spoilt]
    path.write_bytes(b"".join(lines))
    with Journal(path) as journal:
        found = path.read_bytes()
        changed = journal.cut(mark)
        assert changed is not None
        assert (changed.kept, changed.missing) == (len(kept), missing)
        assert f"{len(kept)} of the 4 rows up to there can be read" in changed.said
        assert (changed.beside is None) == (spoilt in NOTHING_LOST)
        if changed.beside is not None:
            assert path.with_name(changed.beside).read_bytes() == found
            assert changed.beside in changed.said
        journal.append({"step": 10})
        assert journal.rows() == len(kept) + 1
    assert [row["step"] for row in read_journal(path)[0]] == [*kept, 10]


def test_the_row_of_a_step_whose_evaluation_is_due_is_not_the_marks(path: Path) -> None:
    mark = Mark(sum(map(len, LINES[:3])), 3, 8, due=True)
    assert mark.fits(b"".join([*LINES, *LATER]))
    assert mark.lines_in(b"".join([*LINES[1:], *LATER])) == [line.rstrip() for line in LINES[1:3]]


def test_what_is_cut_again_after_an_interruption_is_set_beside_once(path: Path) -> None:
    mark = Mark(1000, 4, 8)
    for _ in range(2):
        path.write_bytes(b"".join([*LINES[:2], b"no row\n"]))
        with Journal(path) as journal:
            journal.cut(mark)
            journal.cut(mark)
    assert [beside.name for beside in path.parent.glob("*.aside-*")] == ["history.jsonl.aside-1"]


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
