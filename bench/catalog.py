"""What lists of many runs take: whole processes, Python's start counted, on synthetic runs in real folders.

One run is trained; its folder, without its checkpoints, is copied with other names, signatures, seeds, statuses and
metrics. Of ten runs eight are finished; the others failed, were stopped or killed, or are queued; four are live.

Cases: `none` lists an empty folder; `first` has no index yet, its files are in the page cache; `warm` has both;
`cold` has no index, and the page cache was dropped (Python's own files too; needs root); `cold, index` dropped the
page cache only.

    python bench/catalog.py [--runs 10000] [--repeats 5] [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shoal.store import RunFolder, RunLock

SEEDS = 5
STATUSES = [*["finished"] * 80, *["failed"] * 8, *["running"] * 4, *["stopped"] * 4, *["queued"] * 4]
LIVE = 4
CACHES = Path("/proc/sys/vm/drop_caches")
COMMANDS = {
    "ls": ["ls"],
    "ls --json": ["ls", "--json"],
    "ls, best 10": ["ls", "--sort", "-test.accuracy", "--limit", "10"],
    "show": ["show", "--json"],
}


def trained(folder: Path) -> dict[str, bytes]:
    """Train one run and return its small files."""
    words = ["train", "digits_mlp", "budget.epochs=5", "--json", "--runs", str(folder)]
    subprocess.run([sys.executable, "-m", "shoal", *words], check=True, stdout=subprocess.DEVNULL)
    (run,) = folder.glob("*/seed-0")
    return {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}


def make(runs: Path, count: int, files: dict[str, bytes]) -> str:
    """Make the runs, and return the label of one in the middle."""
    draw, known = random.Random(0), json.loads(files["run.json"])
    for index in range(count):
        experiment, seed = divmod(index, SEEDS)
        name, sign = f"grid_{experiment}", hashlib.sha256(str(experiment).encode()).hexdigest()[:32]
        folder = runs / f"{name}-{sign[:12]}" / f"seed-{seed}"
        folder.mkdir(parents=True)
        status = STATUSES[draw.randrange(len(STATUSES))]
        if status == "queued":
            continue
        facts = {**known, "name": name, "signature": sign, "seed": seed, "status": status}
        facts["metrics"] = {metric: draw.random() for metric in known["metrics"]} if status == "finished" else {}
        facts["started"] = f"2026-{1 + index % 12:02d}-{1 + index % 28:02d}T{index % 24:02d}:00:{index % 60:02d}+00:00"
        content = {**files, "run.json": (json.dumps(facts, indent=1) + "\n").encode()}
        for file, data in content.items():
            (folder / file).write_bytes(data)
    middle = count // 2 // SEEDS
    return f"grid_{middle}/seed-1"


def seconds(runs: Path, words: list[str]) -> float:
    """Run a command on the runs; return its seconds."""
    command = [sys.executable, "-m", "shoal", *words, "--runs", str(runs)]
    written = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=written)
    return time.perf_counter() - began


def forget(runs: Path) -> None:
    """Remove the index."""
    for path in runs.glob(".index*"):
        path.unlink()


def dropped() -> bool:
    """Drop the page cache of the machine; return whether that was allowed."""
    os.sync()
    try:
        CACHES.write_text("3\n")
    except OSError:
        return False
    return True


def measured(runs: Path, words: list[str], repeats: int, case: str) -> list[float]:
    """Return the seconds of a command in a case; none where the page cache cannot be dropped."""
    taken: list[float] = []
    if case in ("warm", "cold, index"):
        seconds(runs, words)
    for _ in range(repeats):
        if case in ("first", "cold"):
            forget(runs)
        if case.startswith("cold") and not dropped():
            return []
        taken.append(seconds(runs, words))
    return taken


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the runs are made, and removed again; else a temporary folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        files = trained(Path(name) / "one")
        runs, empty = Path(name) / "runs", Path(name) / "empty"
        label = make(runs, arguments.runs, files)
        live = [RunFolder(path.parent) for path in list(runs.glob("*/*/run.json"))[:LIVE]]
        for folder in live:
            RunLock(folder).acquire()
        time.sleep(3)  # what was written just now is not kept in an index
        show("none", "ls", measured(empty, ["ls"], arguments.repeats, "warm"), arguments)
        for contender, words in COMMANDS.items():
            given = [words[0], label, *words[1:]] if words[0] == "show" else words
            for case in ("first", "warm", "cold", "cold, index") if contender in ("ls", "show") else ("first", "warm"):
                show(case, contender, measured(runs, given, arguments.repeats, case), arguments)


def show(case: str, contender: str, values: list[float], arguments: argparse.Namespace) -> None:
    """Print one row."""
    label = f"{arguments.runs:,} runs, {case}"
    if not values:
        print(f"{label:<26} {contender:<12} skipped: the page cache can be dropped by root only", file=sys.stderr)
        return
    median, spread = statistics.median(values), f"{min(values):.3f}-{max(values):.3f}"
    row = {"case": label, "contender": contender, "median": median, "unit": "s", "n": len(values)}
    text = f"{label:<26} {contender:<12} {median:7.3f} s  {spread:>13}  n={len(values)}"
    print(json.dumps(row) if arguments.json else text, flush=True)


if __name__ == "__main__":
    main()
