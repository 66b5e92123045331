"""Worker processes: started, spoken to, noticed when they die. What they are to do is the queue's business."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shoal.errors import ShoalError
from shoal.files import to_json
from shoal.sweeps import machine
from shoal.sweeps.channel import Channel, Message, pair

PATIENCE_SECONDS = 30.0
"""How long a worker that was asked to stop may take to save."""

WORKER_BYTES = 500_000_000
"""What a worker takes before any has said what it took."""
SPARE = 1.2
"""How much more memory than the largest worker took has to be free for another one."""
MOST_PRINTED = 4000
MOST_ENDED, MOST_KILLED = 3, 10
"""Workers that may end by themselves, and by a signal, in a row before they are ready."""


@dataclass(frozen=True)
class Setting:
    """What every worker of a sweep is told when it starts."""

    runs: Path
    modules: Sequence[str] = ()
    command: Sequence[str] = ()
    threads: int = 1


@dataclass(frozen=True)
class Place:
    """Where a worker runs."""

    cores: tuple[int, ...] = ()
    gpu: str | None = None


@dataclass
class Process:
    """One worker."""

    place: Place
    channel: Channel
    popen: subprocess.Popen[bytes]
    ready: bool = False
    proven: bool = False
    """Whether it has ended a run: it has taken the memory that it takes."""
    began: float = field(default_factory=time.monotonic)

    def stop(self) -> None:
        """Ask it to save its run, and to begin no other one."""
        self.channel.send({"stop": True})
        with suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.popen.kill()

    def ended(self) -> str:
        """Wait until it has ended, which it is about to, and say how: `SIGKILL`, `exit code 1`."""
        try:
            code = self.popen.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.popen.wait()
        if code < 0:
            with suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit code {code}"


def start(setting: Setting, place: Place, *, output: int) -> Process:
    """Start a worker that prints to the descriptor `output`; it says when it is ready."""
    ours, theirs = pair()
    handles = [theirs.reading, theirs.writing]
    given = {
        "runs": str(setting.runs),
        "modules": list(setting.modules),
        "command": list(setting.command),
        "threads": setting.threads,
        "cores": list(place.cores),
    }
    environment = {**os.environ, "OMP_NUM_THREADS": str(setting.threads), "MKL_NUM_THREADS": str(setting.threads)}
    if place.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = place.gpu
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "shoal.sweeps.worker", *map(str, handles), to_json(given)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=handles,
        env=environment,
        start_new_session=True,  # a terminal's Ctrl-C and hang-up are for the driver
    )
    theirs.close()
    return Process(place, ours, popen)


class Pool:
    """The workers that there are."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.processes: list[Process] = []
        self.log: Path | None = None
        self.largest = 0
        """Bytes of memory that a worker took at most; 0: none has said so yet."""
        self._lost = 0
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 until there is a place for it, and `close`
        self._selector = selectors.DefaultSelector()

    @property
    def needed(self) -> int:
        """Bytes of memory that have to be free for another worker."""
        return int(SPARE * (self.largest or WORKER_BYTES))

    def has_room(self) -> bool:
        """Return whether there is memory for another worker; for a first one there has to be."""
        free = machine.free_memory()
        unproven = sum(not process.proven for process in self.processes)  # what they take is still to be taken
        return not self.processes or free is None or free > self.needed * (1 + unproven)

    def start(self, place: Place) -> Process:
        """Start a worker at a place."""
        process = start(self.setting, place, output=self._output.fileno())
        if self.log is not None:
            process.channel.send({"log": str(self.log)})
        self.processes.append(process)
        self._selector.register(process.channel, selectors.EVENT_READ, process)
        return process

    def log_to(self, path: Path) -> None:
        """Have what workers print from now on, a user's code too, written to a file."""
        self.log = path.resolve()
        for process in self.processes:
            process.channel.send({"log": str(self.log)})

    def printed(self) -> str:
        """Return the last of what workers printed before they had a log."""
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - MOST_PRINTED))
        return self._output.read().decode(errors="replace").strip()

    def events(self, seconds: float) -> Iterator[tuple[Process, Message | None]]:
        """Wait for messages for so long, and yield each with its worker; None once, where a worker is gone."""
        if not self.processes:
            time.sleep(seconds)
            return
        for key, _ in self._selector.select(seconds):
            process: Process = key.data
            received = process.channel.receive()
            if received is None:
                self.forget(process)
                yield process, None
            else:
                yield from ((process, message) for message in received)

    def replace(self, process: Process) -> None:
        """Start a worker in the place of one that is gone; raises ShoalError where they die again and again."""
        self.mourn(process)
        self.start(process.place)

    def mourn(self, process: Process) -> str:
        """Return how a worker ended that is gone; raises ShoalError where too many did before they were ready."""
        how = process.ended()
        self._lost = 0 if process.ready else self._lost + 1
        if self._lost >= (MOST_KILLED if how.startswith("SIG") else MOST_ENDED):
            raise ShoalError(f"workers end before they begin ({how}).\n{self.printed()}".rstrip())
        return how

    def forget(self, process: Process) -> None:
        """Let go of a worker that is gone."""
        self._selector.unregister(process.channel)
        process.channel.close()
        self.processes.remove(process)

    def close(self) -> None:
        """End all workers: those at rest see that nobody is there any more, others stop their run."""
        leaving = list(self.processes)
        for process in leaving:
            self.forget(process)
            with suppress(ProcessLookupError):
                process.popen.terminate()
        for process in leaving:
            process.ended()
        self._output.close()
