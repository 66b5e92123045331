"""What becomes of runs while a sweep is at work, by real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.faults.attempts import wait_until

from shoal.assembly import Workshop
from shoal.cli import main
from shoal.recipe.compose import compose
from shoal.store import RunId, RunLock, create
from shoal.sweeps import machine

TINY = ["digits_mlp", "budget.steps=2", "execution=eager", "model.width=8"]


def sweep(runs: Path, *words: str) -> list[str]:
    return ["sweep", *TINY, *words, "--name", "tiny", "--runs", str(runs)]


def records(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(runs.glob("*/seed-*/run.json"))]


def test_a_run_that_another_process_trains_is_waited_for(tmp_path: Path) -> None:
    recipe = compose("digits_mlp", [*TINY[1:], "seed=0"])
    folder = create(tmp_path, RunId("digits_mlp", Workshop(recipe).signature, 0))
    with RunLock(folder):
        process = subprocess.Popen(
            [sys.executable, "-m", "shoal", *sweep(tmp_path, "--seeds", "2")], stdout=subprocess.PIPE, text=True
        )
        live = tmp_path / ".sweeps" / "tiny" / "live.json"
        wait_until(lambda: live.exists() and "elsewhere" in live.read_text())
        wait_until(lambda: [known["status"] for known in records(tmp_path)] == ["finished"])
        assert process.poll() is None
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"is being trained by process {os.getpid()}" in output
    assert [known["status"] for known in records(tmp_path)] == ["finished", "finished"]


def test_where_there_is_little_memory_fewer_workers_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 1000)
    assert main(sweep(tmp_path, "--seeds", "3", "--workers", "3")) == 0
    assert (
        "1 of 3 workers for now: one more takes about 600.0 MB of memory, and 1.0 kB are free."
        in capfd.readouterr().out
    )
    assert len({known["pid"] for known in records(tmp_path)}) == 1


def test_more_workers_than_cores_are_remarked_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    count = str(len(machine.cores()) + 1)
    assert main(sweep(tmp_path, "--seeds", "2", "--workers", count, "--plan")) == 0
    assert f"{count} workers of 1 thread share {len(machine.cores())} cores" in capfd.readouterr().out


def test_workers_have_cores_of_their_own_and_runs_one_thread(tmp_path: Path) -> None:
    assert main(sweep(tmp_path, "--seeds", "3")) == 0
    assert {known["plan"]["threads"] for known in records(tmp_path)} == {1}
    assert len({known["pid"] for known in records(tmp_path)}) <= len(machine.cores())


def test_ctrl_c_saves_and_stops_what_is_trained_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["sweep", "digits_mlp", "budget.epochs=9000", "execution=eager", "--seeds", "3", "--runs", str(tmp_path)]
    words += ["--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
         "from shoal.cli import main; sys.exit(main(sys.argv[1:]))", *words],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: [*tmp_path.glob("*/seed-*/history.jsonl")])
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 75
    assert "SIGINT: runs are saved and stopped; Ctrl-C once more ends them at once" in output
    (known,) = records(tmp_path)
    assert (known["status"], known["stopped"]["by"]) == ("stopped", "SIGTERM")
    assert "3 runs: ■ 1 stopped, ○ 2 queued" in output


def test_what_is_known_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.cores() == sorted(os.sched_getaffinity(0))
    free = machine.free_memory()
    assert free is not None
    assert 0 < free < 1 << 45
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert machine.gpus() == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    for number in range(2):
        (tmp_path / f"0000:0{number}:00.0").mkdir()
    monkeypatch.setattr(machine, "GPUS", tmp_path)
    assert machine.gpus() == ["0", "1"]
    monkeypatch.setattr(machine, "GPUS", tmp_path / "not there")
    assert machine.gpus() == []
