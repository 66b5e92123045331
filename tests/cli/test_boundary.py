from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.synthetic import holder, make_run

from shoal.cli import show
from shoal.errors import NonFiniteError

COMMANDS = ["train", "ls", "show", "logs", "test", "rm", "schema"]


def raising(error: BaseException) -> Callable[..., Any]:
    def run(*words: Any, **options: Any) -> int:
        raise error

    return run


def test_help_lists_the_commands_in_their_order(shoal: Any) -> None:
    bare, asked = shoal(), shoal("--help")
    assert (bare.code, asked.code) == (0, 0)
    assert bare.out == asked.out
    at = [asked.out.index(f"\n  {command} ") for command in COMMANDS]
    assert at == sorted(at)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(shoal: Any, command: str) -> None:
    answer = shoal(command, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: shoal {command} ")
    assert answer.err == ""


def test_help_of_train_has_examples(shoal: Any) -> None:
    assert "shoal train digits_mlp optimizer.lr=0.05 seed=1\n" in shoal("train", "--help").out


def test_the_version_is_told(shoal: Any) -> None:
    answer = shoal("--version")
    assert (answer.code, answer.out.split()[0]) == (0, "shoal")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shwo"], "shoal: unknown command 'shwo': did you mean 'show'? There are: "),
        (["ls", "--jsn"], "Did you mean '--json'?"),
        (["ls", "--limit", "0"], "shoal: Invalid value for '--limit'"),
        (["show"], "shoal: Missing argument 'RUN'"),
        (["ls", "surplus"], "shoal: Got unexpected extra argument"),
        (["--verbos"], "shoal: No such option"),
    ],
)
def test_a_command_line_that_is_wrong_is_bad_input(shoal: Any, words: list[str], message: str) -> None:
    answer = shoal(*words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert "--help'." in answer.err


def test_an_error_of_shoal_is_its_message_and_its_code(shoal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "run", raising(NonFiniteError("the loss is \x1b[31mnan\nat step 3")))
    answer = shoal("show", "x")
    assert (answer.code, answer.out, answer.err) == (1, "", "shoal: the loss is \\x1b[31mnan\nat step 3\n")


def test_an_unexpected_error_keeps_its_traceback(shoal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "run", raising(ZeroDivisionError("unforeseen")))
    answer = shoal("show", "x")
    assert answer.code == 1
    assert answer.err.startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError: unforeseen" in answer.err


def test_ctrl_c_ends_quietly(shoal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "run", raising(KeyboardInterrupt()))
    answer = shoal("show", "x")
    assert (answer.code, answer.err) == (130, "shoal: interrupted\n")


def test_the_folder_of_runs_is_an_option_or_a_variable(
    shoal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "mine", "digits")
    assert len(shoal("ls", "--runs", "mine").lines) == 1
    monkeypatch.setenv("SHOAL_RUNS", str(tmp_path / "mine"))
    assert len(shoal("ls").lines) == 1
    assert shoal("ls", "--runs", "elsewhere").lines == []


@pytest.mark.parametrize("argument", ["optimizer.lr=-1", "name=--json", "-1"])
def test_settings_and_options_stand_in_any_order(shoal: Any, monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    """Only the parsing: the command itself needs torch."""
    given: dict[str, Any] = {}

    def run(words: list[str], **options: Any) -> int:
        given.update(options, words=words)
        return 75

    module = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "shoal.cli.train", module)
    monkeypatch.setattr(sys.modules["shoal.cli"], "train", module, raising=False)
    answer = shoal("train", argument, "--json", "digits", "--module", "a", "-vv", "seed=1", "--module", "b", "--again")
    if argument == "-1":
        assert answer.code == 2
        return
    assert answer.code == 75
    assert given == {
        "words": [argument, "digits", "seed=1"],
        "runs": Path("runs"),
        "config_dir": None,
        "modules": ["a", "b"],
        "again": True,
        "json": True,
        "verbose": 2,
    }


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    for index in range(20):
        make_run(tmp_path / "runs", f"run{index}", reason="x" * 10_000, status="failed")
    answer = subprocess.run(
        f"{sys.executable} -m shoal ls | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stderr == ""
    assert answer.stdout.splitlines()[1:] == ["0"]


def test_an_output_that_a_disk_refuses_is_a_failure(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    make_run(tmp_path / "runs")
    command = f"{sys.executable} -m shoal ls > /dev/full"
    answer = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr == "shoal: the output could not be written: No space left on device.\n"


def test_without_stdout_nothing_breaks(tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    answer = subprocess.run(
        f"{sys.executable} -m shoal ls >&-", shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")


def test_what_was_closed_goes_nowhere_and_no_file_takes_its_number(tmp_path: Path) -> None:
    """A file of the run that was opened as number 2 would be written to by whatever complains."""
    script = "import os, sys; from shoal.cli import main; main(['ls']); file = open(sys.argv[1], 'w'); "
    script += "file.write(' '.join(os.path.realpath(f'/proc/self/fd/{number}') for number in range(3)))"
    command = f'"{sys.executable}" -c "{script}" opened <&- >&- 2>&-'
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / "opened").read_text().split() == ["/dev/null"] * 3


@pytest.mark.parametrize(
    ("words", "unbuffered", "code"),
    [(["ls"], "", 0), (["ls"], "1", 0), (["verify", "--all"], "", 1)],
    ids=["ls", "ls without a buffer", "verify finds damage"],
)
def test_where_nobody_reads_the_exit_code_is_that_of_what_was_done(
    words: list[str], unbuffered: str, code: int, tmp_path: Path
) -> None:
    make_run(tmp_path / "runs").history.write_text("no row\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "shoal", *words], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, timeout=30,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (code, b"")


def test_a_terminal_that_has_few_characters_gets_the_others_replaced(tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "shoal", "ls"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout.startswith("? finished  digits-")


def test_sigint_ends_a_command_with_130(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs")
    folder.log.write_text("first line\n")
    with holder(folder):
        command = [sys.executable, "-m", "shoal", "logs", "-f", "digits"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "first line\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "shoal: interrupted\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["average=swa", "average.start=0.999"], "average.every = null, once an epoch,"),
        (["average=lookahead", "average.every=500"], "average.every = 500: the slow weights would never move"),
        (["average=swa", "average.anneal_steps=3"], "average.anneal_steps = 3: there is no learning rate to go to."),
    ],
)
def test_an_average_of_nothing_is_refused_before_a_folder_is_made(
    words: list[str], message: str, shoal: Any, runs: Path
) -> None:
    answer = shoal("train", "digits_mlp", "budget.steps=30", "evaluate.every=15", *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not runs.exists()


@pytest.mark.parametrize("words", [["ls"], ["train", "digits_mlp"]], ids=["ls", "train"])
def test_an_empty_folder_of_runs_is_a_variable_that_was_not_set(shoal: Any, words: list[str]) -> None:
    refused = shoal(*words, "--runs", "")
    assert refused.code == 2
    assert "it is empty: expected a folder. Is a variable of the shell not set?" in refused.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_result_that_cannot_be_written_is_said_and_the_run_is_whole(tmp_path: Path) -> None:
    words = ["digits_mlp", "budget.steps=2", "--json", "--runs", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "shoal", "train", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the result could not be written: No space left on device. It is in run.json" in done.stderr
    assert "Traceback" not in done.stderr
    (record,) = tmp_path.glob("*/seed-0/run.json")
    assert json.loads(record.read_text())["status"] == "finished"
