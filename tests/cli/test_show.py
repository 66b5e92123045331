from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.synthetic import make_run, signature

from shoal.store import record


def test_a_run_is_shown(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, metrics={"test.accuracy": 0.98611}, history=5)
    for name in ("digits", folder.label, f"runs/{folder.label}", signature("digits")[:5]):
        answer = shoal("show", name)
        assert answer.code == 0
        assert answer.lines[0] == folder.label
        assert "0.9861" in answer.out
        assert "\x1b" not in answer.out


def test_json_is_the_contracts_object(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, metrics={"test.accuracy": 0.98611})
    (line,) = shoal("show", "digits", "--json").lines
    assert json.loads(line) == {**record.result(folder), "folder": f"runs/{folder.label}"}


def test_a_run_that_is_not_there_is_bad_input(shoal: Any, runs: Path) -> None:
    make_run(runs)
    for words in (["digts"], ["digts", "--json"]):
        answer = shoal("show", *words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("shoal: no run 'digts' in 'runs' (1 run): did you mean 'digits'?")


def test_a_damaged_record_is_named(shoal: Any, runs: Path) -> None:
    make_run(runs).record.write_text("{")
    answer = shoal("show", "digits")
    assert answer.code == 2
    assert "run.json' is damaged" in answer.err
