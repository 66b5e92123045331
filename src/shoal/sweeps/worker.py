"""A process that trains what its driver sends it, one run after another: torch is imported once, data are read once.

    python -m shoal.sweeps.worker READ WRITE '{"runs": ..., "modules": [...], "threads": 1, "cores": [0], ...}'

It answers {"ready"} when it can begin, {"identified"} with signatures, {"step"} a few times a second and {"ended"} for
each run. When the driver goes away, the run at hand is stopped at its next step, saved, and the process ends.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from shoal.assembly import Screen, conduct, import_modules
from shoal.assembly.identify import identify
from shoal.assembly.warm import Warm
from shoal.errors import InputError, LiveRunError, ShoalError
from shoal.recipe import Recipe, parse
from shoal.store import RunFolder, record
from shoal.sweeps.channel import Channel, Message

CHANGED = "its data or code changed since the sweep was planned: give the command again"
CHUNK = 200
"""Recipes that are identified between two answers."""


@dataclass
class Worker:
    """What one process has at hand."""

    channel: Channel
    warm: Warm
    busy: bool = False
    stopping: bool = False

    def work(self) -> None:
        """Do what comes, in its order, until the driver goes away."""
        todo: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(todo,), daemon=True).start()
        self.channel.send({"ready": os.getpid(), "cuda": torch.cuda.is_available()})
        while (message := todo.get()) is not None:
            if "identify" in message:
                self._identify(message["identify"])
            else:
                self._work_through(message["job"])

    def _work_through(self, job: Sequence[Message]) -> None:
        """Train the runs of a job, one after another, and tell of each how it ended."""
        for each in job:
            self.busy = True
            ended = {"ended": "queued"} if self.stopping else self._train(each)
            self.busy = False
            self.channel.send({"id": each["id"], "memory": _memory(), **ended})

    def _listen(self, todo: queue.SimpleQueue[Message | None]) -> None:
        try:
            for message in self.channel.messages():
                if "log" in message:
                    _print_to(message["log"])
                elif "stop" in message:
                    self.stopping = True
                else:
                    todo.put(message)
        finally:
            told, self.stopping = self.stopping, True
            todo.put(None)
            if self.busy and not told:
                os.kill(os.getpid(), signal.SIGTERM)  # which the training takes for a wish to be saved and stopped

    def _identify(self, mappings: Sequence[Mapping[str, Any]]) -> None:
        found: list[list[Any]] = []
        try:
            for one in identify([parse(mapping) for mapping in mappings], self.warm):
                found.append([one.signature, one.stale])
                if len(found) == CHUNK:
                    self.channel.send({"identified": found})
                    found = []
            self.channel.send({"identified": found, "last": True})
        except Exception as error:  # noqa: BLE001 the boundary of the process: it is told where it was asked
            self.channel.send({"identified": found, "last": True, **_told(error)})

    def _train(self, message: Message) -> Message:
        screen = Screen(sys.stdout, quiet=True, watcher=partial(self._tell, int(message["id"])))
        try:
            recipe: Recipe = parse(message["recipe"])
            (now,) = identify([recipe], self.warm)
            if now.signature != message["signature"]:
                return {"ended": "failed", "reason": CHANGED}
            folder = conduct(
                recipe, runs=self.warm.runs, screen=screen, again=bool(message.get("again")), warm=self.warm
            )
            return _ended(folder)
        except LiveRunError as error:
            return {"ended": "elsewhere", "reason": str(error)}
        except (Exception, SystemExit) as error:  # noqa: BLE001 the boundary of the process: the log has the traceback
            if screen.run is not None:
                return _ended(screen.run, str(error))
            return {"ended": "failed", **_told(error)}

    def _tell(self, job: int, run: RunFolder, step: int, total: int) -> None:
        self.channel.send({"id": job, "run": run.label, "step": step, "total": total})


def _ended(folder: RunFolder, reason: str | None = None) -> Message:
    known = record.read(folder)
    status = record.status(folder, known)
    return {
        "ended": "failed" if reason and status in ("queued", "running", "killed") else status,
        "run": folder.label,
        "steps": known.get("steps", 0),
        "seconds": known.get("seconds"),
        "reason": reason or known.get("reason"),
    }


def _told(error: BaseException) -> Message:
    if isinstance(error, ShoalError):
        return {"reason": str(error), "input": isinstance(error, InputError)}
    return {"reason": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc(), "input": False}


def _print_to(path: str) -> None:
    """Have what this process prints, a user's code too, written to a file."""
    with suppress(OSError):  # its place was removed, the disk is full: nothing depends on it
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.close(handle)


def _memory() -> int:
    """Bytes that this process had in memory at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Serve one driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to hear
    given: dict[str, Any] = json.loads(sys.argv[3])
    if given.get("cores") and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, given["cores"])
    torch.set_num_threads(given["threads"])
    reading, writing = int(sys.argv[1]), int(sys.argv[2])
    for handle in (reading, writing):
        os.set_inheritable(handle, False)
    channel = Channel(reading, writing)
    try:
        import_modules(given["modules"])
    except Exception as error:  # noqa: BLE001 the boundary of the process
        channel.send({"refused": True, **_told(error)})
        return
    Worker(channel, Warm(Path(given["runs"]), given["command"])).work()


if __name__ == "__main__":
    main()
