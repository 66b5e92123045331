"""Under Slurm, with stand-ins for its commands that note how they were called."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from shoal.cli import slurm as module
from shoal.cli.slurm import requeue
from tests.faults.attempts import POINTS, record
from tests.faults.chaos import result

SCONTROL = """#!/bin/sh
for word in scontrol "$@"; do printf '%s\\n' "$word" >> {log}; done
cat {runs}/*/seed-0/run.json >> {seen} 2> /dev/null
if [ -n "$TROUBLE" ]; then kill -USR1 $PPID; kill -TERM $PPID; fi
echo "Invalid job id specified" >&2
exit {code}
"""
"""A job that is put back is ended by Slurm, and its limit comes nearer: a training in trouble gets SIGUSR1 once more,
and SIGTERM, before it has an answer."""


class Slurm:
    """A folder with a `scontrol`, and the environment of a job in which it is found."""

    def __init__(self, folder: Path, code: int = 0) -> None:
        self.folder, self.log, self.seen = folder, folder / "log", folder / "seen"
        script = folder / "bin" / "scontrol"
        script.parent.mkdir()
        script.write_text(SCONTROL.format(log=self.log, runs=folder / "runs", seen=self.seen, code=code))
        script.chmod(0o755)
        self.job = {"SLURM_JOB_ID": "4242", "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}

    @property
    def called(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


USR1 = {"by": "SIGUSR1", "new_steps": 7}
ARRAY = {"SLURM_ARRAY_JOB_ID": "4000", "SLURM_ARRAY_TASK_ID": "12"}


@pytest.fixture
def handlers() -> Any:
    """`requeue` leaves signals ignored: the command line puts them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("stopped", "job", "called", "said"),
    [
        (USR1, {}, "4242", "job 4242 was put back into Slurm's queue"),
        (USR1, ARRAY, "4000_12", "job 4000_12 was put back into Slurm's queue"),
        (USR1, {"SLURM_RESTART_COUNT": "3"}, "4242", "was put back"),
        ({**USR1, "new_steps": 0}, {}, "4242", "was put back"),
        ({**USR1, "new_steps": 0}, {"SLURM_RESTART_COUNT": "1"}, None, "made no step. Give it more time"),
        ({"by": "SIGTERM", "new_steps": 7}, {}, None, None),
        ({"by": "SIGINT", "new_steps": 7}, {}, None, None),
        ({}, {}, None, None),
        (USR1, {"SLURM_PROCID": "1"}, None, None),
        (USR1, {"SLURM_JOB_ID": "1; touch x"}, None, "'1; touch x' is no number of a job"),
        (USR1, {"SLURM_JOB_ID": "--help"}, None, "'--help' is no number of a job"),
        (USR1, {**ARRAY, "SLURM_ARRAY_TASK_ID": "$(x)"}, None, r"'4000_\$\(x\)' is no number of a job"),
        (USR1, {"PATH": "/nowhere"}, None, "scontrol cannot be run .* by hand: scontrol requeue 4242"),
    ],
)
def test_what_is_asked_of_slurm(
    slurm: Slurm,
    monkeypatch: pytest.MonkeyPatch,
    stopped: dict[str, Any],
    job: dict[str, str],
    called: str | None,
    said: str | None,
) -> None:
    for name, value in {**slurm.job, **job}.items():
        monkeypatch.setenv(name, value)
    answer = requeue(stopped)
    assert slurm.called == ([] if called is None else ["scontrol", "requeue", called])
    if said is None:
        assert answer is None
    else:
        assert answer is not None
        assert re.search(said, answer), answer


@pytest.mark.usefixtures("handlers")
def test_a_slurm_that_does_not_answer_is_not_waited_for(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    (slurm.folder / "bin" / "scontrol").write_text("#!/bin/sh\nexec sleep 600\n")
    for name, value in slurm.job.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    assert requeue(USR1) == (
        "job 4242 was not put back into Slurm's queue: scontrol gave no answer in 0.1 seconds. See whether it is there "
        "(squeue -j 4242); by hand: scontrol requeue 4242"
    )


def test_outside_of_slurm_nothing_is_asked() -> None:
    assert requeue(USR1) is None


@pytest.mark.faults
@pytest.mark.parametrize(
    ("number", "restarts", "asked", "said"),
    [
        (signal.SIGUSR1, "0", True, "job 4242 was put back into Slurm's queue"),
        (signal.SIGUSR1, "1", False, "made no step. Give it more time (#SBATCH --time)"),
        (signal.SIGTERM, "0", False, None),
    ],
)
def test_a_time_limit_before_there_is_a_training_puts_the_job_back_once(
    number: signal.Signals, restarts: str, asked: bool, said: str | None, tmp_path: Path, start: Any
) -> None:
    """A child that was forked before gets the signal first, and asks for nothing."""
    slurm = Slurm(tmp_path)
    (tmp_path / "asking.py").write_text(
        "import os, time\nthere, child = os.pipe(), os.fork()\n"
        "if not child:\n    os.write(there[1], b'.')\nwhile not child:\n    time.sleep(0.01)\nos.read(there[0], 1)\n"
        f"os.kill(child, {number.value})\nos.waitpid(child, 0)\nos.kill(os.getpid(), {number.value})\n"
    )
    words = ["train", "--module", "asking", "--runs", str(tmp_path / "runs")]
    ended = start(*words, **slurm.job, SLURM_RESTART_COUNT=restarts, PYTHONPATH=str(tmp_path), TROUBLE="-1 ")
    assert ended.end() == 75
    assert slurm.called == ["scontrol", "requeue", "4242"] * asked
    lines = ended.err.read_text().splitlines()
    assert len(lines) == 1 + (said is not None)
    assert "the same command goes on from there" in lines[0]
    assert said is None or said in lines[1]


@pytest.mark.faults
@pytest.mark.parametrize("code", [0, 1])
def test_a_time_limit_puts_the_job_back_once_after_its_checkpoint_and_it_ends_bit_identical(
    code: int, tmp_path: Path, start: Any, points: dict[str, bytes]
) -> None:
    slurm = Slurm(tmp_path, code)
    words = ["train", *POINTS, "--runs", str(tmp_path / "runs")]
    first = start(*words, **slurm.job, TROUBLE=f"100 {tmp_path}/flag asks {signal.SIGUSR1.value}")
    assert first.end() == 75
    assert slurm.called == ["scontrol", "requeue", "4242"]
    seen = json.loads(slurm.seen.read_text())
    assert seen["status"] == "stopped", "the record was written before Slurm was asked"
    assert seen["stopped"]["new_steps"] == seen["steps"] > 0
    last = first.out.read_text().splitlines()[-1]
    refused = "was not put back into Slurm's queue: scontrol ended with exit code 1 (Invalid job id specified)"
    assert (refused if code else "job 4242 was put back") in last
    again = start(*words, **slurm.job, SLURM_RESTART_COUNT="1")
    assert again.end() == 0
    assert "resuming at step" in again.out.read_text()
    assert slurm.called == ["scontrol", "requeue", "4242"]
    assert result(tmp_path / "runs") == points
    assert record(tmp_path / "runs")["stopped"] is None
