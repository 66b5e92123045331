"""Each optimizer's time per step against SGD's: the digits MLP and the MNIST MLP, in one process, taking turns.

What is timed is the whole step (forward, backward, update, metrics) on batches that lie ready. Optimizers take turns of
a few hundred steps in an order that is reversed each time, so that a machine whose speed drifts slows all.

    python bench/optimizers.py [--repeats 5] [--executions eager,captured] [--mnist DIR] [--threads 1] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import islice
from pathlib import Path

NO_RULE = ("lbfgs", "schedule_free")
TURN = 0.15  # seconds


def steps_of(preset: str, words: list[str], execution: str, names: list[str]) -> dict:
    """A function for each optimizer that performs so many steps."""
    from shoal.assembly import Workshop
    from shoal.datasets import START
    from shoal.recipe.compose import compose

    made = {}
    for name in names:
        if execution != "eager" and name in NO_RULE:
            continue
        work = Workshop(compose(preset, [*words, f"optimizer={name}", "optimizer.lr=1e-4", "budget.steps=100000"]))
        step = work.stepping.step(execution, print)
        if execution != "eager":
            step.adopt()
        ready = list(islice(work.batches.start(START), 30))
        rows = step.upload(work.hypers.block(0, len(ready))[:, 0, :].tolist())

        def perform(count: int, step=step, ready=ready, rows=rows) -> None:
            for number in range(count):
                at = number % len(ready)
                step(ready[at], rows[at])

        made[name] = perform
    return made


def measure(performs: dict, repeats: int) -> dict[str, list[float]]:
    """Seconds a step of each, in turns."""
    counts = {}
    for name, perform in performs.items():
        perform(5)
        began = time.perf_counter()
        perform(5)
        counts[name] = max(2, int(TURN / ((time.perf_counter() - began) / 5)))
    taken = {name: [] for name in performs}
    for repeat in range(repeats):
        for name in list(performs)[:: 1 if repeat % 2 == 0 else -1]:
            began = time.perf_counter()
            performs[name](counts[name])
            taken[name].append((time.perf_counter() - began) / counts[name])
    return taken


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--executions", default="eager,captured")
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    import torch

    from shoal.recipe.tables import TABLES

    torch.set_num_threads(arguments.threads)
    names = ["sgd", *sorted(set(TABLES["optimizer"]) - {"sgd"})]
    cases = {"digits_mlp": ("digits_mlp", [])}
    if Path(arguments.mnist).is_dir():
        cases["mnist_mlp"] = ("mnist_mlp", [f"dataset.path={arguments.mnist}"])
    for case, (preset, words) in cases.items():
        for execution in arguments.executions.split(","):
            taken = measure(steps_of(preset, words, execution, names), arguments.repeats)
            base = taken["sgd"]
            for name, seconds in taken.items():
                ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
                median = statistics.median(seconds)
                if arguments.json:
                    row = {"case": f"{case} {execution}", "contender": name, "median": median, "ratio": ratio}
                    print(json.dumps({**row, "n": len(seconds)}), flush=True)
                else:
                    told = f"{median * 1e6:9.1f} us a step  {ratio:6.2f} times SGD  n={len(seconds)}"
                    print(f"{case:<11} {execution:<9} {name:<14} {told}", flush=True)


if __name__ == "__main__":
    main()
