from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.synthetic import holder, make_run


def test_the_log_is_printed_whole_or_its_end(shoal: Any, runs: Path) -> None:
    make_run(runs).log.write_text("one\ntwo\nthree\n")
    assert shoal("logs", "digits").lines == ["one", "two", "three"]
    assert shoal("logs", "digits", "-n", "2").lines == ["two", "three"]
    assert shoal("logs", "digits", "-n", "0").lines == []


def test_what_a_log_says_does_not_act(shoal: Any, runs: Path) -> None:
    make_run(runs).log.write_bytes(b"\x1b[2J\tx\xff\n")
    assert shoal("logs", "digits").out == "\\x1b[2J\tx\ufffd\n"


def test_a_run_without_a_log_says_so(shoal: Any, runs: Path) -> None:
    make_run(runs)
    for words in ([], ["--follow"]):
        answer = shoal("logs", "digits", *words)
        assert answer.code == 2
        assert "has no log yet" in answer.err


def test_following_a_run_that_is_over_ends_at_once(shoal: Any, runs: Path) -> None:
    make_run(runs).log.write_text("one\n")
    answer = shoal("logs", "digits", "--follow")
    assert (answer.code, answer.out) == (0, "one\n")
    assert "is not being trained: nothing more will come." in answer.err


def test_following_a_live_run_prints_what_it_says_until_it_ends(runs: Path, tmp_path: Path) -> None:
    folder = make_run(runs)
    with holder(folder) as live:
        process = subprocess.Popen(
            [sys.executable, "-m", "shoal", "logs", "--follow", "digits"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        with folder.log.open("w") as log:
            for line in ("one\n", "two\n"):
                log.write(line)
                log.flush()
                assert process.stdout.readline() == line
            log.write("last words")
        live.kill()
        live.wait()
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert rest == "last words"
    assert "nothing more will come" in errors
