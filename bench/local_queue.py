"""The local queue: a grid of 32 runs against a pool written by hand, what a run costs beside its training, start-up.

    pool        two processes with one thread each over a plain PyTorch loop, without records or checkpoints
    shoal       `shoal sweep` with two workers of one thread: a fresh process to all results on disk
    loop, one   one run by a plain loop, and by `shoal sweep`: what is left is start-up
    per run     what each further run of one step takes in one worker: everything that is not training

The grid is that of the reference: digits, MLP 64-64-10, batch 32, SGD with momentum, 20 epochs, 8 learning rates by 4
weight decays. All data are the same; the loop measures accuracy once at its end, Shoal also after each epoch unless
`--as-the-loop` is given. Contenders take turns; each is a process, imports and all counted.

    python bench/local_queue.py [--repeats 5] [--as-the-loop] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

POOL = """
import itertools, multiprocessing, sys
import numpy as np
def begin():
    global torch, data
    import torch
    torch.set_num_threads(1)
    with np.load(sys.argv[1]) as file:
        x = torch.from_numpy(file["images"].reshape(-1, 64).astype(np.float32))
        y = torch.from_numpy(file["labels"].astype(np.int64))
    x = (x - x[:1257].mean()) / x[:1257].std()
    data = x[:1257], y[:1257], x[1437:], y[1437:]
def train(point):
    lr, decay = point
    x, y, test_x, test_y = data
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
    for epoch in range(20):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - 31, 32):
            index = order[start:start + 32]
            loss = torch.nn.functional.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return (model(test_x).argmax(1) == test_y).float().mean().item()
if __name__ == "__main__":
    points = list(itertools.product(np.geomspace(1e-3, 1, int(sys.argv[2])), [0, 1e-5, 1e-4, 1e-3][:int(sys.argv[3])]))
    if int(sys.argv[4]) == 1:
        begin()
        print([train(point) for point in points])
    else:
        with multiprocessing.get_context("spawn").Pool(2, begin) as pool:
            print(max(pool.map(train, points, chunksize=1)))
"""
GRID = ["digits_mlp", "model.width=64", "model.depth=1", "optimizer=sgd", "optimizer.momentum=0.9", "batch_size=32"]
GRID += ["budget.epochs=20", "schedules.lr=constant"]
STEP = ["digits_mlp", "budget.steps=1", "evaluate.every=1", "--workers", "1"]


def timed(command: list[str]) -> float:
    """Return the seconds of a command, which has to end well."""
    began = time.perf_counter()
    written = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=written)
    if done.returncode:
        sys.exit(f"{command[:5]} ended with exit code {done.returncode}: {done.stderr}{done.stdout}")
    return time.perf_counter() - began


def swept(words: list[str]) -> float:
    """Return the seconds of a sweep into an empty folder."""
    with tempfile.TemporaryDirectory() as runs:
        return timed([sys.executable, "-m", "shoal", "sweep", *words, "--runs", runs])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--as-the-loop", action="store_true", help="evaluate once, at the end")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    once = ["evaluate.every=20"] if arguments.as_the_loop else []
    digits = str(resources.files("shoal.datasets") / "digits.npz")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "pool.py")
        script.write_text(POOL)
        hand = [sys.executable, str(script), digits]
        contenders = {
            "pool": lambda: timed([*hand, "8", "4", "2"]),
            "shoal": lambda: swept(
                [*GRID, *once, "optimizer.lr=log:1e-3:1:8", "optimizer.weight_decay=0,1e-5,1e-4,1e-3", "--workers", "2"]
            ),
            "loop, one": lambda: timed([*hand, "1", "1", "1"]),
            "shoal, one": lambda: swept([*GRID, *once, "optimizer.lr=1e-3"]),
            "2 runs": lambda: swept([*STEP, "--seeds", "2"]),
            "34 runs": lambda: swept([*STEP, "--seeds", "34"]),
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(arguments.repeats + 1):
            for name, measure in contenders.items():
                seconds = measure()
                if turn:  # the first compiles what was never imported
                    taken[name].append(seconds)
    tell(taken, as_json=arguments.json)


def tell(taken: dict[str, list[float]], *, as_json: bool) -> None:
    """Print the medians, and what comes of them."""
    bases = {"shoal": "pool", "shoal, one": "loop, one"}
    for name, values in taken.items():
        base = bases.get(name)
        ratio = statistics.median(a / b for a, b in zip(values, taken[base], strict=True)) if base else None
        median = statistics.median(values)
        if as_json:
            row = {"case": "queue", "contender": name, "median": round(median, 3), "ratio": ratio, "n": len(values)}
            print(json.dumps(row))
        else:
            beside = f"  {ratio:.2f} of {base}" if ratio is not None else ""
            print(f"{name:<12}{median:>8.2f} s  ({min(values):.2f} to {max(values):.2f}){beside}")
    further = [(b - a) / 32 for a, b in zip(taken["2 runs"], taken["34 runs"], strict=True)]
    start = [a - b for a, b in zip(taken["shoal, one"], taken["loop, one"], strict=True)]
    if as_json:
        for name, values in (("per run", further), ("start-up", start)):
            row = {"case": "queue", "contender": name, "median": round(statistics.median(values), 4), "ratio": None}
            print(json.dumps({**row, "n": len(values)}))
    else:
        print(f"a further run of one step takes {1000 * statistics.median(further):.0f} ms in one worker")
        print(f"start-up and records over the loop's: {statistics.median(start):.2f} s")


if __name__ == "__main__":
    main()
