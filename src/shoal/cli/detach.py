"""Work that outlives its terminal: the command goes on in a process of its own, and its starter says where.

Between `begin` and `let_go` the starter shows what the new process says, so that what is wrong with the input is seen
where it was typed, with its exit code.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


@dataclass
class Detached:
    """The new process's side."""

    told: int
    """A pipe to the starter: a byte says that the work has begun; without it the exit code is the starter's."""

    @classmethod
    def begin(cls) -> Detached:
        """Return in a new process, of a session of its own; the starter ends here, once that lets go or ends.

        To be called before there are threads: only the one that calls it lives on.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        hear, tell = os.pipe()
        pid = os.fork()
        if pid:
            os.close(tell)
            begun = _heard(hear, pid)
            code = 0 if begun else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os._exit(code if code >= 0 else 128 - code)
        os.close(hear)
        os.setsid()
        return cls(tell)

    def let_go(self, name: str, runs: Path, log: Path | None = None) -> None:
        """Say where the work called `name` can be watched, and write to a log, or nowhere, from now on."""
        if self.told < 0:
            return
        elsewhere = f" --runs {shlex.quote(str(runs))}" if str(runs) != "runs" else ""
        with suppress(OSError):  # nobody reads it
            print(
                f"In the background, as process {os.getpid()}. 'shoal attach {name}{elsewhere}' shows it, "
                f"'shoal cancel {name}{elsewhere}' stops it.",
                flush=True,
            )
        nothing = os.open(os.devnull, os.O_RDWR)
        output = nothing if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for number, handle in ((0, nothing), (1, output), (2, output)):
            os.dup2(handle, number)
        with suppress(OSError):  # the starter was ended
            os.write(self.told, b".")
        os.close(self.told)
        self.told = -1


def _heard(pipe: int, pid: int) -> bytes:
    """Wait for the new process to begin; what ends the starter meanwhile ends that as well."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)  # the starter does nothing else any more
    return os.read(pipe, 1)
