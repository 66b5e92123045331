"""Signals, with real processes: what a scheduler, a person at a keyboard and a terminal that goes away do to a run."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shoal.assembly import warm
from shoal.checkpoints import writer
from shoal.cli import main
from shoal.training import SoloEngine
from tests.faults.attempts import LONG, POINTS, QUICK, group, last_saved, record, wait_for_rows, wait_until
from tests.faults.chaos import result

Start = Any
HEARD = TERM, INT, USR1, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP

PLACES = {
    "a step": (SoloEngine, "step", 15),
    "an evaluation": (SoloEngine, "evaluate", 2),
    "a save": (writer, "write", 2),
    "start-up": (warm, "code_patch", 1),
    "the final test": (SoloEngine, "evaluate", 4),
}
"""Where a signal may come: what is called there, and which of the calls it is."""


def ask_at(place: str, number: int, patch: pytest.MonkeyPatch) -> None:
    """Let this process send itself a signal at a place, and go on there."""
    owner, name, which = PLACES[place]
    original, calls = getattr(owner, name), list[int]()

    def asked(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) == which:
            os.kill(os.getpid(), number)
        return original(*arguments, **keywords)

    patch.setattr(owner, name, asked)


@pytest.fixture
def ours() -> Generator[Callable[..., None]]:
    """A handler of the caller's for every signal that a training hears."""

    def handler(number: int, frame: object) -> None:
        raise AssertionError(f"nobody heard {signal.Signals(number).name}")

    before = {each: signal.signal(each, handler) for each in HEARD}
    yield handler
    for each, previous in before.items():
        signal.signal(each, previous)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("place", "number"),
    [("a step", TERM), ("a step", INT), ("a step", USR1), ("an evaluation", INT), ("a save", USR1), ("a save", TERM),
     ("start-up", TERM), ("start-up", INT), ("the final test", USR1)],
    ids=lambda value: getattr(value, "name", value),
)  # fmt: skip
def test_wherever_a_signal_comes_the_run_stops_with_75_and_ends_bit_identical(
    place: str,
    number: signal.Signals,
    tmp_path: Path,
    alone: dict[str, bytes],
    ours: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["train", *QUICK, "--runs", str(tmp_path)]
    with monkeypatch.context() as patch:
        ask_at(place, number, patch)
        assert main(words) == 75
    assert {signal.getsignal(each) for each in HEARD} == {ours}, "the handlers of before are put back"
    facts = record(tmp_path)
    assert facts["status"] == "stopped"
    assert facts["reason"].startswith(f"stopped by {number.name}")
    assert facts["stopped"]["by"] == number.name
    if place == "start-up":
        assert not list(tmp_path.glob("*/*/checkpoints/step-*"))
    else:
        assert facts["steps"] == last_saved(tmp_path) > 0
    assert main(words) == 0
    assert result(tmp_path) == alone


@pytest.mark.faults
def test_a_stop_says_how_many_steps_its_own_attempt_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By that Slurm is not asked again and again for nothing."""
    for steps in (15, 30):
        with monkeypatch.context() as patch:
            ask_at("a step", USR1, patch)
            assert main(["train", *QUICK, "--runs", str(tmp_path)]) == 75
        facts = record(tmp_path)
        assert (facts["steps"], facts["stopped"]["new_steps"]) == (steps, 15)


@pytest.mark.faults
@pytest.mark.parametrize(("workers", "example"), [(0, 150), (0, 1010), (2, 150), (2, 1010)])
def test_a_signal_does_not_wait_for_data(
    workers: int, example: int, tmp_path: Path, start: Start, points: dict[str, bytes]
) -> None:
    """The example never comes; 1010 is one of an evaluation."""
    words = ["train", *POINTS, f"dataset.workers={workers}", "--runs", str(tmp_path / "runs")]
    stopped = start(*words, TROUBLE=f"{example} {tmp_path}/flag asks {TERM.value}")
    assert stopped.end() == 75, stopped.err.read_text()
    facts = record(tmp_path / "runs")
    assert (facts["status"], facts["steps"]) == ("stopped", last_saved(tmp_path / "runs"))
    wait_until(lambda: not group(stopped.pid))
    assert start(*words).end() == 0
    assert result(tmp_path / "runs") == points


@pytest.mark.faults
@pytest.mark.parametrize("number", [TERM, INT, USR1], ids=lambda number: number.name)
def test_a_whole_group_with_workers_is_signalled(
    number: signal.Signals, tmp_path: Path, start: Start, points: dict[str, bytes]
) -> None:
    words = ["train", *POINTS, "dataset.workers=2", "--runs", str(tmp_path / "runs")]
    stopped = start(*words, TROUBLE=f"100 {tmp_path}/flag group {number.value}")
    assert stopped.end() == 75, stopped.err.read_text()
    assert record(tmp_path / "runs")["reason"].startswith(f"stopped by {number.name} at step")
    assert "the same command continues" in stopped.out.read_text()
    wait_until(lambda: not group(stopped.pid))
    assert start(*words).end() == 0
    assert result(tmp_path / "runs") == points


@pytest.mark.faults
def test_a_hangup_of_a_whole_group_ends_neither_the_training_nor_its_workers(
    tmp_path: Path, start: Start, points: dict[str, bytes]
) -> None:
    words = ["train", *POINTS, "dataset.workers=2", "--runs", str(tmp_path / "runs")]
    process = start(*words, TROUBLE=f"100 {tmp_path}/flag group {HUP.value}")
    assert process.end() == 0, process.err.read_text()
    assert (tmp_path / "flag").exists()
    assert result(tmp_path / "runs") == points


@pytest.mark.faults
def test_a_second_signal_ends_at_once_and_leaves_a_run_that_resumes(
    tmp_path: Path, start: Start, points: dict[str, bytes]
) -> None:
    words = ["train", *POINTS, "checkpoint.every=1", "--runs", str(tmp_path / "runs")]
    process, flag = start(*words, TROUBLE=f"2010 {tmp_path}/flag hangs"), tmp_path / "flag"
    wait_until(flag.exists)
    process.send(INT)
    time.sleep(0.7)  # longer than that, and it is another request
    assert process.process.is_alive(), "the data give way to nothing"
    process.send(INT)
    assert process.end(10) == 128 + INT
    assert main(["ls", "--status", "killed", "--runs", str(tmp_path / "runs")]) == 0
    assert main(["verify", "--all", "--runs", str(tmp_path / "runs")]) == 0
    assert start(*words).end() == 0
    assert result(tmp_path / "runs") == points


@pytest.mark.faults
def test_timeout_signals_twice_and_means_one_stop(tmp_path: Path) -> None:
    """`timeout` signals the process, and then the group that the process is in."""
    variants = {"TERM": ["--kill-after=60", "600"], "INT": ["-s", "INT", "600"]}
    started: dict[str, subprocess.Popen[str]] = {}
    for name, words in variants.items():
        command = ["timeout", "--preserve-status", *words, sys.executable, "-m", "shoal", "train", *LONG]
        command += ["--runs", str(tmp_path / name)]
        started[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for name, process in started.items():
            wait_for_rows(tmp_path / name)
            process.send_signal(signal.SIGALRM)  # its time is over
            output, _ = process.communicate(timeout=30)
            assert process.returncode == 75, output
            assert f"stopped by SIG{name} at step" in output
            assert record(tmp_path / name)["status"] == "stopped"
    finally:
        for process in started.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), [(USR1, 75), (TERM, 75), (INT, 130), (HUP, 2)])
def test_before_there_is_a_training_a_signal_ends_the_process_and_says_what_is_next(
    number: signal.Signals, code: int, tmp_path: Path, start: Start
) -> None:
    """A hangup ends nothing: it goes on, to a word that is wrong."""
    (tmp_path / "asking.py").write_text(f"import os\nos.kill(os.getpid(), {number.value})\n")
    process = start(
        "train", "--module", "asking", "budget.steps=-1", "--runs", str(tmp_path / "runs"), PYTHONPATH=str(tmp_path)
    )
    assert process.end() == code
    assert ("the same command goes on from there" in process.err.read_text()) == (code == 75)
    assert not (tmp_path / "runs").exists()


@pytest.mark.faults
@pytest.mark.parametrize("json_too", [False, True], ids=["", "json"])
@pytest.mark.parametrize(
    ("words", "code", "status", "last"),
    [
        (QUICK, 0, "finished", "test.accuracy"),
        ((*QUICK, "optimizer.lr=1e20"), 1, "failed", "not finite"),
        (POINTS, 75, "stopped", "the same command continues"),
    ],
    ids=["finishes", "fails", "stops"],
)
def test_a_reader_that_leaves_changes_neither_training_nor_exit_code(
    words: tuple[str, ...], code: int, status: str, last: str, json_too: bool, tmp_path: Path, start: Start
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    shown = {"out": pipe, "err": pipe} if json_too else {"out": pipe}
    given = ["train", *words, *["--json"] * json_too, "--runs", str(tmp_path / "runs")]
    process = start(*given, TROUBLE=f"100 {tmp_path}/flag asks {TERM.value}", **shown)
    with pipe.open() as reader:
        assert reader.readline()
    assert process.end() == code
    assert record(tmp_path / "runs")["status"] == status
    (log,) = (tmp_path / "runs").glob("*/seed-0/train.log")
    assert last in log.read_text().splitlines()[-1]


@pytest.mark.faults
@pytest.mark.parametrize(
    "shell", ["{} | head -1; echo ${{PIPESTATUS[0]}}", "{} <&- >&- 2>&-; echo $?", "{} --json <&- >&- 2>&-; echo $?"]
)
def test_in_a_shell_the_output_may_be_cut_or_closed(shell: str, tmp_path: Path) -> None:
    command = " ".join([sys.executable, "-m", "shoal", "train", *QUICK, "--runs", str(tmp_path / "runs")])
    answer = subprocess.run(
        shell.format(command), shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60
    )
    assert (answer.stdout.splitlines()[-1], answer.stderr) == ("0", "")
    assert record(tmp_path / "runs")["status"] == "finished"
    (folder,) = (tmp_path / "runs").glob("*/seed-0")
    assert "test.accuracy" in (folder / "train.log").read_text().splitlines()[-1]
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 30], "nothing was written there that belongs on a screen"


def terminal_of(pid: int) -> int:
    """The device of the terminal that controls a process, 0 for none."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4])


@pytest.mark.faults
def test_training_goes_on_when_its_terminal_is_closed(tmp_path: Path, start: Start) -> None:
    master, slave = pty.openpty()
    terminal = Path(os.ttyname(slave))
    words = ["digits_mlp", "budget.epochs=60", "--runs", str(tmp_path / "runs")]
    process = start("train", *words, out=terminal, err=terminal)
    shown = b""
    while b"step" not in shown:
        shown += os.read(master, 1000)
    assert terminal_of(process.pid) == terminal.stat().st_rdev
    os.close(slave)
    os.close(master)  # the session gets SIGHUP, and every write fails from now on
    assert process.end() == 0
    assert record(tmp_path / "runs")["status"] == "finished"
    (log,) = (tmp_path / "runs").glob("*/seed-0/train.log")
    assert "test.accuracy" in log.read_text().splitlines()[-1]
