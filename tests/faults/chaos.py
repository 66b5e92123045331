"""Train one run under SIGKILLs at random instants, and compare it byte for byte with the run that was left alone.

    python -m tests.faults.chaos --kills 25 [--preset digits_mlp] [--set KEY=VALUE ...] [--seed N] [--spawn] [--json]

Each attempt is a process of its own, killed at an instant drawn uniformly over the time that an attempt takes: while
it starts, steps, evaluates, saves or finishes. Attempts are forked from one process that has imported torch, or
with --spawn started by the `shoal` command, imports included. When all kills are spent the run is left to finish.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shoal.store import RunFolder
from shoal.store.verify import verify

Start = Callable[[Path], int]
"""Start an attempt in a runs folder; return its process id."""


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
    import torch._dynamo  # what the first optimizer of a process imports: attempts spend their time in training

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


def finish(start: Start, runs: Path) -> float:
    """Let one attempt run to its end; return its seconds. Raises where it does not end well."""
    began = time.monotonic()
    code = os.waitstatus_to_exitcode(os.waitpid(start(runs), 0)[1])
    if code:
        raise SystemExit(f"an attempt that was left alone ended with exit code {code}")
    return time.monotonic() - began


def kill(start: Start, runs: Path, after: float) -> bool:
    """Start an attempt and SIGKILL it after some seconds; return whether it was still alive."""
    pid = start(runs)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def result(runs: Path) -> dict[str, bytes]:
    """Everything of a finished run that must not depend on how often it was killed, by file."""
    (folder,) = runs.glob("*/seed-*")
    record = json.loads((folder / "run.json").read_text())
    newest = max((folder / "checkpoints").glob("step-????????"))
    found = {f"{newest.name}/{path.name}": path.read_bytes() for path in newest.glob("*.pt")}
    found["history.jsonl"] = (folder / "history.jsonl").read_bytes()
    kept = {key: record[key] for key in ("status", "steps", "metrics", "best", "reason")}
    return {**found, "run.json": json.dumps(kept, sort_keys=True).encode()}


def verified(runs: Path) -> int:
    """Check every checkpoint that a killed attempt has left; return how many. Raises where one is damaged."""
    found = [verify(RunFolder(path)) for path in runs.glob("*/seed-*")]
    for one in found:
        for checkpoint in one.checkpoints:
            if checkpoint.damage is not None:
                raise SystemExit(f"a killed attempt left a damaged checkpoint: {checkpoint.damage}")
    return sum(len(one.checkpoints) for one in found)


def differing(first: dict[str, bytes], second: dict[str, bytes]) -> int:
    """How many bytes two results differ in."""
    total = 0
    for name in set(first) | set(second):
        a, b = first.get(name, b""), second.get(name, b"")
        total += sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
    return total


def chaos(start: Start, kills: int, seed: int, *, progress: Callable[[str], None]) -> dict[str, float]:
    """Run the whole comparison; return what happened."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as hunted:
        quiet = finish(start, Path(alone))
        expected = result(Path(alone))
        began, killed, rounds, bytes_off, sound = time.monotonic(), 0, 0, 0, 0
        while killed < kills:
            place = Path(hunted) / str(rounds)
            rounds += 1
            while killed < kills and kill(start, place, chance.uniform(0, quiet)):
                killed += 1
                sound += verified(place)
                progress(f"kill {killed} of {kills}, round {rounds}")
            finish(start, place)
            bytes_off += differing(expected, result(place))
        taken = time.monotonic() - began
    lost = max(taken - rounds * quiet, 0.0) / max(killed, 1)
    return {
        "kills": killed, "runs": rounds, "checkpoints_verified": sound, "bytes_differing": bytes_off,
        "seconds_alone": round(quiet, 3), "seconds_lost_per_kill": round(lost, 3),
    }  # fmt: skip


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--preset", default="digits_mlp")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="words")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spawn", action="store_true", help="attempts by the shoal command, imports included")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    words = [arguments.preset, *arguments.words]
    start = start_command(words) if arguments.spawn else start_fork(words)
    outcome = chaos(
        start, arguments.kills, arguments.seed, progress=lambda text: print(text, file=sys.stderr, flush=True)
    )
    print(json.dumps(outcome) if arguments.json else "\n".join(f"{key:<22} {value}" for key, value in outcome.items()))
    sys.exit(0 if outcome["bytes_differing"] == 0 else 1)


if __name__ == "__main__":
    main()
