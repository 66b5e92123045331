from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.synthetic import make_run

from shoal.pages.report import report
from shoal.store import notes


def test_runs_are_tagged_listed_and_found_by_tags(shoal: Any, runs: Path) -> None:
    one, other = make_run(runs, "a"), make_run(runs, "b")
    make_run(runs, "c")
    answer = shoal("tag", "a", "b", "--add", "paper", "--add", "good")
    assert (answer.code, answer.lines) == (0, [f"{one.label}  good,paper", f"{other.label}  good,paper"])
    assert shoal("tag", "b", "--remove", "good").lines == [f"{other.label}  paper"]
    assert shoal("tag", "a", "c").lines[0] == f"{one.label}  good,paper"
    rows = shoal("ls", "--sort", "name").lines
    assert [row.endswith(end) for row, end in zip(rows, ("  good,paper", "  paper", "  -"), strict=True)] == [True] * 3
    assert len(shoal("ls", "--tag", "paper").lines) == 2
    (found,) = shoal("ls", "--tag", "paper", "--tag", "good", "--json").lines
    assert json.loads(found)["tags"] == ["good", "paper"]
    assert "tags" not in json.loads(shoal("ls", "--json", "--name", "c").out)


def test_a_tag_that_no_run_has_is_refused_with_the_nearest(shoal: Any, runs: Path) -> None:
    make_run(runs, "a")
    assert "--tag 'good': no run has any tag yet" in shoal("ls", "--tag", "good").err
    shoal("tag", "a", "--add", "good")
    answer = shoal("ls", "--tag", "god")
    assert (answer.code, answer.out) == (2, "")
    assert "unknown tag 'god': did you mean 'good'?" in answer.err


def test_nothing_is_tagged_where_a_run_or_a_tag_is_wrong(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, "a")
    for words in (["a", "nobody", "--add", "good"], ["a", "--add", "good", "--add", "not good"]):
        assert shoal("tag", *words).code == 2
    assert not folder.notes.exists()


def test_a_note_is_set_appended_printed_and_removed(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, "a")
    assert shoal("note", "a").out == ""
    assert shoal("note", "a", "the baseline").lines == ["the baseline"]
    assert shoal("note", "a", "--append", "and more").lines == ["the baseline", "and more"]
    assert json.loads(shoal("note", "a", "--json").out)["note"] == "the baseline\nand more"
    assert json.loads(shoal("show", "a", "--json").out)["note"] == "the baseline\nand more"
    assert shoal("note", "a", "").out == ""
    assert notes.of(folder).note == ""


def test_pages_show_them_with_nothing_that_acts(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, "a")
    folder.notes.write_text(json.dumps({"format": 1, "tags": ["x\x1b[31m"], "note": "one\n<b>\x1b]0;two"}))
    shown = shoal("show", "a").lines
    assert {"tags       x\\x1b[31m", "note       one"} <= set(shown)
    assert "\x1b" not in "".join([*shown, *shoal("ls").lines, *shoal("tag", "a").lines, *shoal("note", "a").lines])
    page = report(folder)
    assert "<b>\x1b" not in page
    assert "&lt;b&gt;" in page
    folder.notes.write_text("{")
    assert any("notes.json' is damaged" in line for line in shoal("show", "a").lines)
    for command in ("tag", "note"):
        answer = shoal(command, "a")
        assert (answer.code, "is damaged" in answer.err) == (2, True)
