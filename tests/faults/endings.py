"""How a training is ended in the midst of it: by an error, or by what becomes of a process of its own.

Processes are forked from the one that has imported torch already.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shoal.training import SoloEngine


@contextmanager
def cut_before(step: int) -> Generator[None]:
    """Let the training in the block fail before a step, from 0."""
    perform = SoloEngine.step

    def failing(self: SoloEngine, batch: Any, hyper: Any) -> None:
        if self.steps == step:
            raise OSError("stopped on purpose")
        perform(self, batch, hyper)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SoloEngine, "step", failing)
        with pytest.raises(OSError, match="stopped on purpose"):
            yield


def forked(action: Callable[[], int | None]) -> int:
    """Perform an action in a process of its own, the first of a new group, which ends with what it returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            code = action() or 0
        except BaseException:  # noqa: BLE001 (a forked process ends here)
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    """Wait for a process; return its exit code, or the negative number of the signal that ended it."""
    waited(lambda: not alive([pid]), f"the end of process {pid}")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def done(action: Callable[[], int | None]) -> int:
    """Perform an action in a process of its own and return how that ended."""
    return ended(forked(action))


def waited(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in {seconds:g} seconds {what} did not happen"
        time.sleep(0.01)


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that have not ended, as /proc tells it."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended
            continue
        if int(parent) == pid and state not in "ZX":
            found.add(int(stat.parent.name))
    return found


def alive(pids: Iterable[int]) -> set[int]:
    """Return those of some processes that have not ended; one that nobody has waited for has."""
    found: set[int] = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.add(pid)
    return found


def kill_now() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
