"""Who trains a run: one process of many that start it at once, and the next one when its owner is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shoal.assembly import attempt
from shoal.cli import main
from shoal.store import RunFolder, RunId, create
from tests.faults.attempts import LONG, POINTS, QUICK, record, wait_for_rows, wait_until
from tests.faults.chaos import result

Start = Any


@pytest.mark.faults
def test_a_live_run_is_refused_by_pid_and_host(tmp_path: Path, start: Start) -> None:
    words = ["train", *LONG, "--runs", str(tmp_path / "runs")]
    first = start(*words)
    wait_for_rows(tmp_path / "runs")
    second = start(*words, "--json")
    assert second.end(15) == 2
    assert second.out.read_text() == ""
    said = second.err.read_text()
    assert f"is being trained by process {first.pid} on {socket.gethostname()}" in said
    assert record(tmp_path / "runs")["pid"] == first.pid


@pytest.mark.faults
def test_a_run_whose_owner_was_killed_is_free_although_a_worker_hung(
    tmp_path: Path, start: Start, points: dict[str, bytes]
) -> None:
    words = ["train", *POINTS, "checkpoint.every=0.5", "dataset.workers=2", "--runs", str(tmp_path / "runs")]
    first, flag = start(*words, TROUBLE=f"150 {tmp_path}/flag hangs"), tmp_path / "flag"
    wait_until(flag.exists)
    os.kill(first.pid, signal.SIGKILL)
    assert first.end() == 128 + signal.SIGKILL
    second = start(*words)
    assert second.end() == 0, second.err.read_text()
    assert "resuming at step" in second.out.read_text()
    assert result(tmp_path / "runs") == points


@pytest.mark.faults
def test_of_processes_that_create_one_run_at_once_one_trains_it_and_the_others_say_so(
    tmp_path: Path, start: Start
) -> None:
    """They wait for one another where they import a module of the user's; the run takes longer than they try."""
    (tmp_path / "meeting.py").write_text(
        "import os, time\n"
        f"open(f'{tmp_path}/here-{{os.getpid()}}', 'w').close()\n"
        f"while not os.path.exists('{tmp_path}/go'):\n    time.sleep(0.001)\n"
        "import shoal\n"
        "@shoal.task('unused')\n"
        "def unused():\n    raise AssertionError\n"
    )
    words = ["train", "digits_mlp", "budget.steps=2000", "evaluate.every=500", "execution=eager"]
    words += ["--module", "meeting", "--runs", str(tmp_path / "runs")]
    started = [start(*words, PYTHONPATH=str(tmp_path)) for _ in range(4)]
    wait_until(lambda: len(list(tmp_path.glob("here-*"))) == len(started))
    (tmp_path / "go").touch()
    codes = [process.end(60) for process in started]
    assert sorted(codes) == [0, 2, 2, 2]
    winner = started[codes.index(0)]
    for process in started:
        if process is not winner:
            assert f"is being trained by process {winner.pid}" in process.err.read_text()
    facts = record(tmp_path / "runs")
    assert (facts["status"], facts["attempts"], facts["pid"]) == ("finished", 1, winner.pid)
    assert main(["verify", "--all", "--runs", str(tmp_path / "runs")]) == 0


@pytest.mark.faults
def test_a_run_that_another_process_finished_in_the_meantime_is_not_trained_again(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", *QUICK, "--runs", str(tmp_path / "runs")]

    def overtaken(runs: Path, run: RunId) -> RunFolder:
        assert start(*words).end() == 0
        return create(runs, run)

    monkeypatch.setattr(attempt, "create", overtaken)
    assert main(words) == 0
    assert record(tmp_path / "runs")["attempts"] == 1


CLAIM = """
import json, os, sys, traceback
from pathlib import Path
from shoal.errors import LiveRunError
from shoal.store import RunId, RunLock, create, lock
lock.PATIENCE_SECONDS = 0.02
runs, processes, count = Path(sys.argv[1]), 8, 12
go, said = os.pipe(), os.pipe()
sys.excepthook = lambda *error: (traceback.print_exception(*error), os.killpg(0, 9))  # else the others would wait
for number in range(processes):
    if os.fork():
        continue
    os.read(go[0], 1)
    claimed, locks = [], []
    for index in range(count):
        which = (index + number * count // processes) % count
        folder = create(runs, RunId("grid", f"{which:x}" + "0" * 31, 0))
        try:
            locks.append(RunLock(folder)); locks[-1].acquire()
            claimed.append([which, str(folder.path)])
        except LiveRunError:
            pass
    os.write(said[1], json.dumps(claimed).encode() + b"\\n")
    os.read(go[0], 1)  # the locks are kept until all have tried
    if number == 0:
        os.kill(os.getpid(), 9)
    os._exit(0)
os.write(go[1], b"." * processes)
answers = []
text = os.fdopen(said[0])
for _ in range(processes):
    answers += json.loads(text.readline())
os.write(go[1], b"." * processes)
for _ in range(processes):
    os.wait()
print(json.dumps(answers))
"""


def claims(runs: Path) -> list[Any]:
    command = [sys.executable, "-c", CLAIM, str(runs)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)
    try:
        said, wrong = process.communicate(timeout=30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, wrong
    return json.loads(said)


@pytest.mark.faults
def test_eight_processes_claim_each_of_several_runs_once_and_a_killed_claim_is_free_again(tmp_path: Path) -> None:
    claimed = claims(tmp_path / "runs")
    assert sorted(which for which, _ in claimed) == list(range(12)), "every run by one process, and by one only"
    assert len({folder for _, folder in claimed}) == 12
    assert len(list((tmp_path / "runs").glob("*/seed-0"))) == 12
    assert sorted(claims(tmp_path / "runs")) == sorted(claimed)
