"""Under Slurm: a job that was told of its time limit by SIGUSR1 asks to be run again, once its checkpoint is saved.

SIGTERM asks for nothing: it is what `scancel` sends. A job that was run again and made no step is not put back once
more, so no job goes round for ever: not one either whose data take longer to prepare than it may run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

ASKS = signal.SIGUSR1.name
JOB = re.compile(r"[0-9]+(_[0-9]+)?")
PATIENCE_SECONDS = 60


def requeue(stopped: Mapping[str, Any]) -> str | None:
    """Have Slurm run this job again where a training was stopped for that; return what is to be said, or None.

    `stopped` is what the run's record says of its stop.
    """
    first_rank = os.environ.get("SLURM_PROCID", "0") == "0"
    if stopped.get("by") != ASKS or "SLURM_JOB_ID" not in os.environ or not first_rank:
        return None
    job = _job()
    if JOB.fullmatch(job) is None:
        return f"the job was not put back into Slurm's queue: {job!r} is no number of a job."
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    if restarts != "0" and not stopped.get("new_steps"):
        return (
            f"job {job} was not put back into Slurm's queue: it was run again (SLURM_RESTART_COUNT = {restarts}) and "
            "made no step. Give it more time (#SBATCH --time) and submit it once more: it goes on from there."
        )
    why = _asked(["scontrol", "requeue", job])
    if why is not None:
        return (
            f"job {job} was not put back into Slurm's queue: {why}. See whether it is there (squeue -j {job}); by "
            f"hand: scontrol requeue {job}"
        )
    return f"job {job} was put back into Slurm's queue (scontrol requeue {job})."


def _job() -> str:
    """The number of the job; in an array, that of the array and that of the task in it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array is not None and task is not None else os.environ["SLURM_JOB_ID"]


def _asked(command: list[str]) -> str | None:
    """Run a command; return why it failed, or None. Slurm may end this job, or warn of its limit, while it does."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # so that it is asked once and the exit code is still told
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    except OSError as error:
        return f"{command[0]} cannot be run ({error})"
    except subprocess.TimeoutExpired:
        return f"{command[0]} gave no answer in {PATIENCE_SECONDS:g} seconds"
    if done.returncode == 0:
        return None
    said = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[0]
    return f"{command[0]} ended with exit code {done.returncode} ({said})"
