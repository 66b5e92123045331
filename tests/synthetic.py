"""Runs on disk that nothing trained: what the store, the pages and the read-only commands are tried on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shoal.store import Journal, RunFolder, RunId, create, record

HOLDER = """
import os, sys, time
from pathlib import Path
from shoal.store import RunFolder, RunLock
lock = RunLock(RunFolder(Path(sys.argv[1])))
lock.acquire()
if "fork" in sys.argv and os.fork() == 0:
    os.write(1, f"child {os.getpid()}\\n".encode())
    time.sleep(600)
os.write(1, b"held\\n")
time.sleep(600)
"""


def signature(text: str = "") -> str:
    """Return 32 hex digits that are a function of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def make_run(
    runs: Path,
    name: str = "digits",
    seed: int = 0,
    *,
    of: str | None = None,
    status: str = "finished",
    metrics: Mapping[str, float] | None = None,
    history: int = 0,
    **facts: Any,
) -> RunFolder:
    """Make the folder of a run; its signature is a function of `of`, or of the name."""
    run = RunId(name, signature(of or name), seed)
    folder = create(runs, run)
    changes: dict[str, Any] = {"name": name, "signature": run.signature, "seed": seed, "status": status}
    changes |= {"steps": 40, "total_steps": 40, "metrics": dict(metrics or {})}
    record.update(folder, **(changes | facts))
    if history:
        with Journal(folder.history) as journal:
            for step in range(1, history + 1):
                row = {"train.loss": 2 / step, "train.accuracy": 1 - 1 / step, "lr": 0.1, "valid.loss": 3 / step}
                journal.append({"step": step, "epoch": step / 4, **row})
    return folder


@contextmanager
def holder(folder: RunFolder, *words: str) -> Generator[subprocess.Popen[str]]:
    """Run a process that holds the lock of a run; with the word `fork`, it has a child that stays alive."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path), *words], stdout=subprocess.PIPE, text=True
    )
    children: list[int] = []
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline().split()) and line[0] != "held":
            children.append(int(line[1]))
        if "fork" in words and not children:
            children.append(int(process.stdout.readline().split()[1]))
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert process.stdout is not None
        process.stdout.close()
