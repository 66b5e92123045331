"""Train one run under SIGKILLs at random instants, and compare it byte for byte with the run that was left alone.

    python -m tests.faults.chaos --kills 25 [--preset digits_mlp] [--set KEY=VALUE ...] [--seed N] [--spawn] [--json]

Each attempt is a process of its own, killed at an instant drawn uniformly over the time that an attempt takes: while
it starts, steps, evaluates, saves or finishes. Attempts are forked from one process that has imported torch, or
with --spawn started by the `shoal` command, imports included. When an attempt ends before its kill, the run is compared
and another one begins; when all kills are spent the last one is left to finish. Where bytes differ or a checkpoint is
damaged the exit code is 1, and the folders of both runs are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shoal.store import RunFolder, record
from shoal.store.checkpoint_files import candidates, step_of
from shoal.store.verify import verify

Start = Callable[[Path], int]
"""Start an attempt in a runs folder; return its process id."""
PHASES = START, TRAINING, SAVE, END = (
    "at start-up",
    "in steps or evaluations",
    "during a save",
    "in the test at the end",
)


@dataclass
class Outcome:
    """What happened."""

    kills: int = 0
    runs: int = 0
    checkpoints_verified: int = 0
    bytes_differing: int = 0
    files_differing: list[str] = field(default_factory=list[str])
    seconds_alone: float = 0.0
    seconds_lost_per_kill: float = 0.0
    phases: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PHASES, 0))

    def __str__(self) -> str:
        fell = ", ".join(f"{count} {phase}" for phase, count in self.phases.items())
        differing = f" ({', '.join(self.files_differing)})" if self.files_differing else ""
        return (
            f"{self.kills} kills survived, in {self.runs} run{'s' * (self.runs != 1)}: {fell}\n"
            f"{self.checkpoints_verified} checkpoints verified, none damaged\n"
            f"{self.bytes_differing} bytes differ from the run that was left alone{differing}\n"
            f"{self.seconds_lost_per_kill:.2f} s lost per kill; the run alone takes {self.seconds_alone:.2f} s"
        )


def start_command(words: Sequence[str]) -> Start:
    """Attempts by the command, from a fresh interpreter."""

    def start(runs: Path) -> int:
        command = [sys.executable, "-m", "shoal", "train", *words, "--runs", str(runs)]
        silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=[silent])

    return start


def start_fork(words: Sequence[str]) -> Start:
    """Attempts by fork: torch is imported once, here, and has started no threads yet."""
    import torch
    import torch._inductor.compile_fx  # what recording and compiling import: attempts spend their time in training

    from shoal.cli import train

    torch.set_num_threads(1)

    def start(runs: Path) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            code = train.run(list(words), runs=runs, config_dir=None, modules=[], again=False, json=False, verbose=0)
        except BaseException as error:  # noqa: BLE001 (a forked process ends here)
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)

    return start


def attempt(start: Start, runs: Path, after: float | None = None) -> str | None:
    """Start an attempt and SIGKILL it after some seconds; return what it was killed in, None where it came to its end.

    Raises where it does not end well.
    """
    attempts, deadline = _attempts(runs), time.monotonic() + (math.inf if after is None else after)
    pid = start(runs)
    ended, status = 0, 0
    while not ended and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.002))
        ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return phase(runs, pid, attempts)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"an attempt that was left alone ended with exit code {code}; its run is in {runs}")
    return None


def phase(runs: Path, pid: int, attempts: int) -> str:
    """Return what a process was doing when it was killed, by what it left; there had been so many attempts before."""
    if _attempts(runs) == attempts:
        return START
    (folder,) = _runs(runs)
    if any(folder.checkpoints.glob(f"*.tmp-{pid}")):
        return SAVE
    saved = candidates(folder.checkpoints)
    return END if saved and step_of(saved[0]) == record.read(folder)["total_steps"] else TRAINING


def _runs(runs: Path) -> list[RunFolder]:
    return [RunFolder(path) for path in runs.glob("*/seed-*")]


def _attempts(runs: Path) -> int:
    return sum(int(record.read(folder).get("attempts", 0)) for folder in _runs(runs))


def result(runs: Path) -> dict[str, bytes]:
    """Everything of the one run in a folder that must not depend on how often it was killed, by file."""
    (folder,) = _runs(runs)
    return result_of(folder)


def result_of(folder: RunFolder) -> dict[str, bytes]:
    """Everything of a finished run that must not depend on how often it was killed, by file."""
    facts = record.read(folder)
    newest = candidates(folder.checkpoints)[0]
    paths = [*newest.glob("*.pt"), folder.history, *folder.samples.glob("*")]
    kept = {key: facts.get(key) for key in ("status", "steps", "epochs", "metrics", "best", "reason", "guard")}
    found = {str(path.relative_to(folder.path)): path.read_bytes() for path in paths}
    return {**found, "run.json": json.dumps(kept, sort_keys=True).encode()}


def verified(runs: Path) -> int:
    """Check every checkpoint that a killed attempt has left; return how many. Raises where one is damaged."""
    found = [checkpoint for folder in _runs(runs) for checkpoint in verify(folder).checkpoints]
    for checkpoint in found:
        if checkpoint.damage is not None:
            raise SystemExit(f"a killed attempt left a damaged checkpoint: {checkpoint.damage}")
    return len(found)


def differing(first: dict[str, bytes], second: dict[str, bytes]) -> dict[str, int]:
    """Return in how many bytes each file differs that is not the same in two results."""
    found: dict[str, int] = {}
    for name in sorted(set(first) | set(second)):
        a, b = first.get(name, b""), second.get(name, b"")
        if a != b:
            found[name] = sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
    return found


def chaos(start: Start, kills: int, seed: int, *, folder: Path, progress: Callable[[str], None]) -> Outcome:
    """Make the whole comparison in a folder."""
    chance, told, began = random.Random(seed), Outcome(), time.monotonic()
    attempt(start, folder / "alone")
    quiet, expected, spent = time.monotonic() - began, result(folder / "alone"), 0.0
    while told.kills < kills:
        place = folder / f"killed-{told.runs}"
        where: str | None = ""
        told.runs += 1
        while where is not None:
            after, began = chance.uniform(0, quiet) if told.kills < kills else None, time.monotonic()
            where = attempt(start, place, after)
            spent += time.monotonic() - began
            told.checkpoints_verified += verified(place)
            if where is not None:
                told.kills += 1
                told.phases[where] += 1
                progress(f"kill {told.kills} of {kills}, run {told.runs}: {where}")
        found = differing(expected, result(place))
        told.bytes_differing += sum(found.values())
        told.files_differing += [f"{place.name}/{name}" for name in found]
    told.seconds_alone = round(quiet, 3)
    told.seconds_lost_per_kill = round(max(spent - told.runs * quiet, 0.0) / max(told.kills, 1), 3)
    return told


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--preset", default="digits_mlp")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="words")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--spawn", action="store_true", help="attempts by the shoal command, imports included")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    arguments = parser.parse_args()
    words = [arguments.preset, *arguments.words]
    start = start_command(words) if arguments.spawn else start_fork(words)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    told = chaos(
        start,
        arguments.kills,
        arguments.seed,
        folder=folder,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(asdict(told)) if arguments.json else told)
    if told.bytes_differing:
        print(f"both runs are in {folder}", file=sys.stderr)
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
