"""A whole training as a process: seconds and peak memory of Shoal against a loop written by hand with torch and NumPy.

Each measurement is a process of its own, which imports torch, reads the gzipped files of MNIST, trains one epoch of
784-256-10 and evaluates; its peak resident memory is what the system says at its end. Shoal also checks the recipe,
digests the data, makes the run's folder, evaluates twice, saves checkpoints and sample predictions. Both run once
before anything is counted, for the first import of a package compiles it.

    python bench/process.py [--repeats 5] [--mnist DIR] [--json]
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
from pathlib import Path

BY_HAND = """
import gzip, sys
import numpy as np, torch, torch.nn.functional as F
from torch import nn
def read(name, skip):
    with gzip.open(f"{sys.argv[1]}/{name}-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=skip)
def split(name):
    x = torch.from_numpy(read(f"{name}-images-idx3", 16).reshape(-1, 784).copy()).float().sub_(33.3).div_(78.6)
    return x, torch.from_numpy(read(f"{name}-labels-idx1", 8).copy()).long()
x, y = split("train")
test_x, test_y = split("t10k")
model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
order = torch.randperm(len(x))
for start in range(0, len(x) - 127, 128):
    index = order[start:start + 128]
    loss = F.cross_entropy(model(x[index]), y[index])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    correct = sum((model(test_x[i:i + 512]).argmax(1) == test_y[i:i + 512]).sum().item() for i in range(0, 10000, 512))
"""


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak resident memory in MB."""
    began = time.perf_counter()
    written = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=written)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[:4]} ended with exit code {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not Path(arguments.mnist).is_dir():
        sys.exit(f"skipped: there is no folder {arguments.mnist}")
    taken: dict[str, list[tuple[float, float]]] = {"hand": [], "shoal": []}
    for _ in range(arguments.repeats + 1):
        taken["hand"].append(measured([sys.executable, "-c", BY_HAND, arguments.mnist]))
        with tempfile.TemporaryDirectory() as runs:
            words = ["mnist_mlp", f"dataset.path={arguments.mnist}", "budget.epochs=1", "--runs", runs]
            taken["shoal"].append(measured([sys.executable, "-m", "shoal", "train", *words]))
    for number, unit in enumerate(("s", "MB")):
        base = statistics.median(row[number] for row in taken["hand"][1:])
        for contender, rows in taken.items():
            values = [row[number] for row in rows[1:]]
            median, spread = statistics.median(values), f"{min(values):.1f}-{max(values):.1f}"
            row = {"case": f"mnist_mlp {unit}", "contender": contender, "median": median, "ratio": median / base}
            text = f"mnist_mlp  {contender:<6} {median:7.1f} {unit:<2}  {spread:>13}  {median - base:+7.1f} {unit}"
            print(json.dumps({**row, "n": len(values)}) if arguments.json else f"{text}  n={len(values)}")


if __name__ == "__main__":
    main()
