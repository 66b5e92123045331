"""Work that outlives its terminal: the command goes on in a process of its own, and its starter says where.

Between `begin` and `let_go` the starter shows what the new process says, so that what is wrong with the input is seen
where it was typed, with its exit code.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from shoal.sweeps.board import place_of

LOG = "driver.log"


@dataclass(frozen=True)
class Detached:
    """The new process's side."""

    told: int
    """A pipe to the starter: a byte says that the work has begun; without it the exit code is the starter's."""

    @classmethod
    def begin(cls) -> Detached:
        """Return in a new process, of a session of its own; the starter ends here, once that lets go or ends."""
        sys.stdout.flush()
        sys.stderr.flush()
        hear, tell = os.pipe()
        pid = os.fork()
        if pid:
            os.close(tell)
            begun = os.read(hear, 1)
            code = 0 if begun else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os._exit(code if code >= 0 else 1)
        os.close(hear)
        os.setsid()
        return cls(tell)

    def let_go(self, runs: Path, name: str) -> None:
        """Say where the work can be watched, and write to a log from now on."""
        place = place_of(runs, name).path
        place.mkdir(parents=True, exist_ok=True)
        elsewhere = "" if str(runs) == "runs" else f" --runs {runs}"
        print(
            f"In the background, as process {os.getpid()}. 'shoal attach {name}{elsewhere}' shows it, "
            f"'shoal cancel {name}{elsewhere}' stops it; it writes to {place / LOG}.",
            flush=True,
        )
        log = os.open(place / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, handle in ((0, nothing), (1, log), (2, log)):
            os.dup2(handle, number)
        os.close(log)
        os.close(nothing)
        os.write(self.told, b".")
        os.close(self.told)
