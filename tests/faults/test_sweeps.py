"""A sweep whose driver and workers are killed: its command is given again, and nothing is done twice or lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shoal.store import RunFolder
from tests.faults.attempts import wait_until
from tests.faults.chaos import differing, result_of

SWEEP = ["digits_mlp", "optimizer.lr=log:1e-3:1:8", "model.width=16,32", "--seeds", "2", "--name", "killed"]
STEPS = ["budget.steps=240", "evaluate.every=40", "checkpoint.every=40", "execution=eager"]
RUNS = 32
DRIVERS, WORKERS = 4, 6
"""Kills of each."""


class Driver:
    """`shoal sweep` as a process, in a session of its own."""

    def __init__(self, runs: Path, *words: str) -> None:
        command = [sys.executable, "-m", "shoal", "sweep", *SWEEP, *STEPS, *words, "--runs", str(runs)]
        self.output = runs.with_name(f"{runs.name}.txt").open("ab")
        self.process = subprocess.Popen(command, stdout=self.output, stderr=self.output, start_new_session=True)

    def workers(self) -> list[int]:
        """Its living children."""
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, ValueError):
                state, parent, *_ = path.read_text().rpartition(")")[2].split()
                if int(parent) == self.process.pid and state != "Z":
                    found.append(int(path.parent.name))
        return found

    def end(self, timeout: float = 200) -> int:
        code = self.process.wait(timeout)
        self.output.close()
        return code

    def kill(self) -> None:
        for pid in [*self.workers(), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        self.output.close()


@pytest.fixture
def drivers() -> Generator[list[Driver]]:
    started: list[Driver] = []
    yield started
    for driver in started:
        driver.kill()


def finished(runs: Path) -> dict[str, dict[str, object]]:
    """The records of the runs that are finished, by label."""
    return {label: known for label, known in records(runs) if known["status"] == "finished"}


def records(runs: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for path in sorted(runs.glob("*/seed-*/run.json")):
        yield f"{path.parent.parent.name}/{path.parent.name}", json.loads(path.read_bytes())


@pytest.mark.faults
def test_a_sweep_whose_driver_and_workers_are_killed_ends_as_one_that_was_left_alone(
    tmp_path: Path, drivers: list[Driver]
) -> None:
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    drivers.append(Driver(alone))
    assert drivers[0].end() == 0, (tmp_path / "alone.txt").read_text()
    draw, kept = random.Random(5), dict[str, dict[str, object]]()
    kills = [*[True] * DRIVERS, *[False] * WORKERS]
    draw.shuffle(kills)
    drivers.append(Driver(runs))
    for of_the_driver in kills:
        enough = min(len(finished(runs)) + draw.randrange(3), RUNS - 4)
        wait_until(lambda n=enough: len(finished(runs)) >= n and drivers[-1].workers())
        time.sleep(draw.uniform(0, 0.3))
        if of_the_driver:
            drivers[-1].process.kill()
            drivers[-1].end()
            drivers.append(Driver(runs))
        else:
            with suppress(ProcessLookupError):
                os.kill(draw.choice(drivers[-1].workers()), signal.SIGKILL)
        for label, known in finished(runs).items():
            assert kept.setdefault(label, known) == known, "a finished run was touched again"
    assert drivers[-1].end() == 0, (tmp_path / "runs.txt").read_text()
    last = finished(runs)
    assert len(last) == RUNS
    assert all(last[label] == known for label, known in kept.items()), "a finished run was trained again"
    labels = [label for label, _ in records(alone)]
    assert sorted(last) == labels
    for label in labels:
        assert not differing(*(result_of(RunFolder(each / label)) for each in (alone, runs))), label
    assert not list(runs.glob("*/*.aside*"))


@pytest.mark.faults
def test_a_worker_that_dies_again_and_again_fails_its_run_and_the_others_are_trained(
    tmp_path: Path, drivers: list[Driver]
) -> None:
    runs = tmp_path / "runs"
    words = ["--module", "tests.faults.dying", "model=dying", "model.dies=false,true", "--name", "dying"]
    done = swept(runs, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    statuses = {str(known["status"]) for _, known in records(runs)}
    assert statuses == {"finished", "killed"}
    (reason,) = [str(known["reason"]) for _, known in records(runs) if known["status"] == "killed"]
    assert "ended 3 times (SIGKILL) without a new checkpoint in between: given up" in reason
    assert reason in done.stdout


@pytest.mark.faults
@pytest.mark.parametrize("which", range(1, 4))
def test_a_run_that_is_to_be_trained_anew_is_so_wherever_its_worker_dies_before(which: int, tmp_path: Path) -> None:
    runs, words = tmp_path / "runs", ["--module", "tests.faults.dying", "model=dying", "--name", "anew"]
    assert swept(runs, *words).returncode == 0
    (before,) = (known for _, known in records(runs))
    done = swept(runs, *words, "--again", DIES_AT=f"{which} {tmp_path}/built")
    assert done.returncode == 0, done.stdout + done.stderr
    after = dict(records(runs))
    (aside,) = runs.glob("*/seed-0.aside-1/run.json")
    assert json.loads(aside.read_bytes()) == before, "the run before is as it was"
    ((_, known),) = [(label, known) for label, known in after.items() if "aside" not in label]
    assert (known["status"], known["attempts"]) == ("finished", 1)
    assert (tmp_path / "built").stat().st_size > which, "it died, and went on"


def swept(runs: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A sweep of the module of dying models, as a process."""
    command = [sys.executable, "-m", "shoal", "sweep", "digits_mlp", *words, "budget.steps=20", "--runs", str(runs)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
