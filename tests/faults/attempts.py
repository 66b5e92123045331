"""`shoal ...` as a process of its own, forked from a server that has imported torch: real signals, little start-up.

An attempt leads a session of its own, as a scheduler's job does. What it says goes to files, or to whatever path is
given: a FIFO, a terminal.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.cli import main
from shoal.store.checkpoint_files import candidates, step_of

ROOT = Path(__file__).parents[2]
QUICK = ("digits_mlp", "budget.steps=30", "evaluate.every=10", "checkpoint.every=10")
"""A run of a fraction of a second."""
LONG = ("digits_mlp", "budget.epochs=4000", "checkpoint.every=1", "execution=eager")
"""A run of minutes."""
POINTS = ("digits_mlp", "--module", "tests.faults.troubled", "dataset=troubled", "budget.epochs=4")
"""A run of 24 steps on a Dataset, which may be in trouble."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch._dynamo", "shoal.cli.train", "tests.faults.attempts"])


class Attempt:
    """One process; `out` and `err` are where its output goes."""

    def __init__(self, words: Sequence[str], out: Path, err: Path, environment: Mapping[str, str]) -> None:
        self.out, self.err = out, err
        self.process = SERVER.Process(target=_run, args=(list(words), str(out), str(err), dict(environment)))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def send_group(self, number: int) -> None:
        os.killpg(self.pid, number)

    def end(self, timeout: float = 30) -> int:
        """Wait for the end; return the exit code as a shell would have it."""
        self.process.join(timeout)
        code = self.process.exitcode
        said = [path.read_text() for path in (self.out, self.err) if path.is_file()]
        assert code is not None, f"it did not end in {timeout} s: {''.join(said)}"
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        for pid in group(self.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()


def _run(words: list[str], out: str, err: str, environment: dict[str, str]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what has started the tests may ignore both
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    multiprocessing.set_start_method("fork", force=True)  # as in a process of its own: workers are its children
    os.environ.update(environment)
    os.chdir(ROOT)
    for number, path in ((1, out), (2, err)):
        access = os.O_RDWR if Path(path).is_char_device() else os.O_WRONLY  # a terminal becomes that of the session
        handle = os.open(path, access | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = ["shoal", *words]
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    sys.exit(main(words))


def group(leader: int) -> list[int]:
    """The living processes of a session, zombies left out."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(what: Callable[[], Any], timeout: float = 60) -> Any:
    """Wait until a function returns something; return it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come about in time")


def wait_for_rows(runs: Path, rows: int = 3) -> Path:
    """Wait until a run has written some history; return its folder."""

    def written() -> Path | None:
        histories = runs.glob("*/seed-*/history.jsonl")
        return next((path.parent for path in histories if path.read_bytes().count(b"\n") >= rows), None)

    return wait_until(written)


def last_saved(runs: Path) -> int:
    """The step of the newest checkpoint of the one run in a folder."""
    (path,) = runs.glob("*/seed-*/checkpoints")
    return step_of(candidates(path)[0])


def record(runs: Path) -> dict[str, Any]:
    """The record of the one run in a folder."""
    (path,) = runs.glob("*/seed-*/run.json")
    return json.loads(path.read_text())
