from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.synthetic import make_run, signature

from shoal.cli import conditions
from shoal.cli.ls import Choice, select
from shoal.errors import InputError
from shoal.store import RunLock, Summary, record, summaries

STATUSES = ("finished", "failed", "stopped", "running")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand runs, made as fast as files can be written."""
    runs, draw = tmp_path_factory.mktemp("many"), random.Random(0)
    for index in range(1000):
        sign = signature(str(index))
        folder = runs / f"run{index % 7}-{sign[:12]}" / "seed-0"
        folder.mkdir(parents=True)
        facts = {
            "format": 1,
            "name": f"run{index % 7}",
            "signature": sign,
            "seed": 0,
            "status": STATUSES[index % 4],
            "steps": index,
            "metrics": {"test.accuracy": draw.random()} if index % 4 == 0 else {},
            "started": f"2026-01-{1 + index % 28:02d}T00:00:{index % 60:02d}+00:00",
        }
        (folder / "run.json").write_text(json.dumps(facts))
    return runs


@pytest.fixture(scope="module")
def everything(many: Path) -> list[Summary]:
    return summaries(many)


def listed(answer: Any) -> list[dict[str, Any]]:
    assert answer.code == 0, answer.err
    return [json.loads(line) for line in answer.lines]


def test_no_runs_are_no_error(shoal: Any) -> None:
    answer = shoal("ls")
    assert (answer.code, answer.out) == (0, "")
    assert "There are no runs in 'runs' yet" in answer.err
    assert shoal("ls", "--json").out == ""


def test_a_run_is_a_line_without_colour(shoal: Any, runs: Path) -> None:
    make_run(runs, metrics={"test.accuracy": 0.98611})
    (line,) = shoal("ls").lines
    assert line == f"✓ finished  digits-{signature('digits')[:12]}/seed-0  40  test.accuracy=0.9861  -"


def test_json_is_the_contracts_object(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, metrics={"test.accuracy": 0.9, "valid.loss": float("nan")})
    (found,) = listed(shoal("ls", "--json"))
    assert found == {**record.result(folder), "folder": f"runs/{folder.label}", "metrics": {"test.accuracy": 0.9}}


def test_a_thousand_runs_are_sorted_and_filtered(shoal: Any, many: Path) -> None:
    every = listed(shoal("ls", "--json", "--runs", many))
    assert len(every) == 1000
    assert {run["status"] for run in every} == {"finished", "failed", "stopped", "killed"}
    best = listed(shoal("ls", "--json", "--runs", many, "--sort", "-test.accuracy", "--limit", "10"))
    values = sorted((run["metrics"]["test.accuracy"] for run in every if run["metrics"]), reverse=True)
    assert [run["metrics"]["test.accuracy"] for run in best] == values[:10]
    some = listed(
        shoal(
            "ls", "--json", "--runs", many, "--where", "test.accuracy>0.5", "--where", "steps<500", "--name", "run[12]"
        )
    )
    expected = [run for run in every if run["metrics"].get("test.accuracy", 0) > 0.5 and run["steps"] < 500]
    assert {run["run"] for run in some} == {run["run"] for run in expected if run["run"][:4] in ("run1", "run2")}
    assert some
    gone = listed(shoal("ls", "--json", "--runs", many, "--status", "killed", "--status", "failed"))
    assert len(gone) == 500
    assert len(shoal("ls", "--runs", many).lines) == 1000


@pytest.mark.parametrize("key", ["steps", "test.accuracy", "started", "name", "run", "status"])
def test_each_order_has_its_opposite_and_lacking_values_last(everything: list[Summary], key: str) -> None:
    rising, falling = (select(everything, Choice(sort=sort)) for sort in (key, f"-{key}"))
    assert select(everything, Choice(sort=f"-{key}", reverse=True)) == rising
    having = 250 if key == "test.accuracy" else 1000
    for order in (rising, falling):
        assert [conditions.value_of(run, key) is None for run in order] == [False] * having + [True] * (1000 - having)
    values = [conditions.value_of(run, key) for run in rising[:having]]
    assert values == sorted(values)
    assert values[::-1] == [conditions.value_of(run, key) for run in falling[:having]]


def test_newest_come_first(shoal: Any, runs: Path) -> None:
    for day in (2, 3, 1):
        make_run(runs, f"day{day}", started=f"2026-01-0{day}T00:00:00Z")
    make_run(runs, "unstarted", status="queued")
    assert [run["run"].split("-")[0] for run in listed(shoal("ls", "--json"))] == ["day3", "day2", "day1", "unstarted"]


def test_a_live_run_is_running_with_the_metrics_of_its_history(shoal: Any, runs: Path) -> None:
    folder = make_run(runs, status="running", metrics={}, steps=None, history=4)
    with RunLock(folder):
        (found,) = listed(shoal("ls", "--json", "--status", "running"))
    assert found["steps"] == 4
    assert found["metrics"]["valid.loss"] == 0.75
    assert shoal("ls", "--status", "running").out == ""


def test_chosen_metrics_are_columns(shoal: Any, runs: Path) -> None:
    make_run(runs, metrics={"test.accuracy": 0.5, "valid.loss": 0.25, "train.loss": 1.0})
    (line,) = shoal("ls", "--metrics", "train.loss, valid.loss").lines
    assert "train.loss=1.000  valid.loss=0.2500" in line
    assert "test.accuracy" not in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--status", "finishd"], "unknown status 'finishd': did you mean 'finished'? There are: "),
        (
            ["--where", "test.acuracy>0.9"],
            "--where 'test.acuracy': no run has it; did you mean test.accuracy? There are: ",
        ),
        (["--where", "test.accuracy"], "expected KEY, one of >= <= != == = > <, and a value"),
        (["--where", "test.accuracy>high"], "test.accuracy is compared with a number, and 'high' is none"),
        (["--where", "__import__('os')>1"], "no run has it"),
        (["--sort", "stpes"], "--sort 'stpes': no run has it; did you mean steps?"),
        (["--metrics", "test.los"], "--metrics 'test.los': no run has it"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused(shoal: Any, runs: Path, words: list[str], message: str) -> None:
    make_run(runs, metrics={"test.accuracy": 0.5})
    for more in ([], ["--json"]) if words[0] != "--metrics" else ([],):
        answer = shoal("ls", *words, *more)
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err


def test_a_choice_that_leaves_none_says_so(shoal: Any, runs: Path) -> None:
    make_run(runs, metrics={"test.accuracy": 0.5})
    answer = shoal("ls", "--where", "test.accuracy > 0.9")
    assert (answer.code, answer.out, answer.err) == (0, "", "The only run in 'runs' is not like that.\n")


def test_texts_are_compared_too(shoal: Any, runs: Path) -> None:
    make_run(runs, "a", started="2026-01-01T00:00:00Z")
    make_run(runs, "b", started="2026-02-01T00:00:00Z")
    assert len(shoal("ls", "--where", "started>=2026-02").lines) == 1
    assert len(shoal("ls", "--where", "name != a").lines) == 1


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    key=st.from_regex(r"[a-z]+\.[a-z0-9_]+", fullmatch=True),
    sign=st.sampled_from(sorted(conditions.OPERATORS)),
    value=NUMBERS,
)
def test_every_condition_is_read_back(key: str, sign: str, value: float) -> None:
    for text in (f"{key}{sign}{value!r}", f" {key} {sign}  {value!r} "):
        assert conditions.parse(text) == conditions.Condition(key, sign, value)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InputError):
        found = conditions.parse(text)
        assert found.key
        assert found.sign in text
