"""Signals and locks, with real processes: what a scheduler, a person at a keyboard and a second start do to a run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.chaos import result

LONG = ["digits_mlp", "budget.epochs=4000", "checkpoint.every=1", "execution=eager"]
SHORT = ["digits_mlp", "budget.epochs=12", "checkpoint.every=1"]


def start(runs: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "shoal", "train", *words, "--runs", str(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def wait_for_rows(runs: Path, rows: int = 3, timeout: float = 60) -> Path:
    """Wait until a run has written some history; return its folder."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for history in runs.glob("*/seed-*/history.jsonl"):
            if history.read_bytes().count(b"\n") >= rows:
                return history.parent
        time.sleep(0.01)
    raise AssertionError("no run wrote history in time")


def record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that nobody disturbs ends with."""
    runs = tmp_path_factory.mktemp("alone")
    process = start(runs, *SHORT)
    process.communicate(timeout=120)
    assert process.returncode == 0
    return result(runs)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_with_75_and_the_same_command_ends_bit_identical(
    tmp_path: Path, number: signal.Signals, alone: dict[str, bytes]
) -> None:
    stopped = start(tmp_path / "stopped", *SHORT)
    folder = wait_for_rows(tmp_path / "stopped", 2)
    os.killpg(stopped.pid, number)  # as a scheduler and a terminal do: the whole group
    output, _ = stopped.communicate(timeout=60)
    if stopped.returncode == 0:
        pytest.skip("the run finished before the signal came")
    assert stopped.returncode == 75
    assert record(folder)["status"] == "stopped"
    assert f"stopped by {number.name}" in output
    assert "the same command continues" in output

    resumed = start(tmp_path / "stopped", *SHORT)
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0
    assert "resuming at step" in output
    assert result(tmp_path / "stopped") == alone


@pytest.mark.faults
def test_a_second_signal_ends_at_once_and_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG)
    folder = wait_for_rows(tmp_path)
    process.send_signal(signal.SIGSTOP)  # both signals are pending when it goes on
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    code = process.returncode
    assert code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    listed = subprocess.run(
        [sys.executable, "-m", "shoal", "ls", "--json", "--runs", str(tmp_path)], capture_output=True, text=True
    )
    assert json.loads(listed.stdout)["status"] == "killed"
    process = start(tmp_path, *LONG)
    time.sleep(0.1)
    deadline = time.monotonic() + 60
    while record(folder)["attempts"] != 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert record(folder)["attempts"] == 2, output + errors


@pytest.mark.faults
def test_a_live_run_is_refused_by_pid_and_host(tmp_path: Path) -> None:
    first = start(tmp_path, *LONG)
    folder = wait_for_rows(tmp_path)
    try:
        second = start(tmp_path, *LONG, "--json")
        output, errors = second.communicate(timeout=60)
        assert second.returncode == 2
        assert output == ""
        assert str(first.pid) in errors
        assert socket.gethostname() in errors
        assert record(folder)["pid"] == first.pid
    finally:
        first.kill()
        first.communicate()


@pytest.mark.faults
def test_training_goes_on_when_its_terminal_is_closed(tmp_path: Path) -> None:
    process = start(tmp_path, *SHORT)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    wait_for_rows(tmp_path, 1)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode in (0, 1)
    (folder,) = tmp_path.glob("*/seed-0")
    assert record(folder)["status"] == "finished"
    assert "test.accuracy" in (folder / "train.log").read_text()
