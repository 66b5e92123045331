"""`execution=auto` against the best single execution, for 10 seconds, 1 minute and 10 minutes of work, all counted.

Each execution is timed in a process of its own: what it takes to prepare (recording, compiling, and for auto the
measuring and whatever it then does) and seconds a step. The whole time of a training is then prepare + steps x seconds
a step, for as many steps as take an eager loop 10, 60 and 600 seconds; auto is told that number of steps, and decides
by it. Inductor's cache is empty each time, which is the worst for whatever compiles.

    python bench/auto.py [--repeats 3] [--cases digits_mlp,...] [--mnist DIR] [--work 10,60,600] [--json]
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
from itertools import cycle, islice

CASES = {"digits_mlp": [], "mnist_mlp": ["dataset.path={mnist}"], "mnist_cnn": ["dataset.path={mnist}"]}
SINGLE = ("eager", "captured", "compiled")
TIMED = 4.0  # seconds of steps


def measure(case: str, execution: str, steps: int, mnist: str) -> None:
    """One process: print seconds to prepare, seconds a step and the plan."""

    from shoal.assembly import Workshop
    from shoal.datasets import START
    from shoal.recipe.compose import compose
    from shoal.training.recorded import RecordedStep

    words = [word.format(mnist=mnist) for word in CASES[case]]
    work = Workshop(compose(case, [*words, f"budget.steps={steps}", "evaluate.every=1000000000"]))
    work.check()
    _ = work.stepping
    began = time.perf_counter()
    if execution == "auto":
        choice, step = work.stepping.choose(left=steps, known=None, say=lambda _: None)
        plan = f"{choice.execution}, {choice.threads} threads"
    else:
        step, plan = work.stepping.step(execution, lambda _: None), execution
    if isinstance(step, RecordedStep):
        step.adopt()
    prepare = time.perf_counter() - began
    ready = list(islice(work.batches.start(START), 50))
    rows = step.upload(work.hypers.block(0, len(ready))[:, 0, :].tolist())
    pairs, done = cycle(zip(ready, rows, strict=True)), 0
    for batch, row in islice(pairs, 5):
        step(batch, row)
    began = time.perf_counter()
    while time.perf_counter() - began < TIMED:
        for batch, row in islice(pairs, 10):
            step(batch, row)
        done += 10
    print(f"RESULT {prepare} {(time.perf_counter() - began) / done} {plan}", flush=True)


def run(case: str, execution: str, steps: int, mnist: str) -> tuple[float, float, str]:
    """Start the process and read its result."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor", "SHOAL_CACHE": f"{cache}/shoal"}
        command = [sys.executable, __file__, "--mnist", mnist, "--measure", case, execution, str(steps)]
        out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    _, prepare, seconds, plan = next(line for line in out.splitlines() if line.startswith("RESULT ")).split(" ", 3)
    return float(prepare), float(seconds), plan


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--work", default="10,60,600")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("CASE", "EXECUTION", "STEPS"))
    arguments = parser.parse_args()
    if arguments.measure:
        case, execution, steps = arguments.measure
        measure(case, execution, int(steps), arguments.mnist)
        return
    for case in arguments.cases.split(","):
        single = {
            name: [run(case, name, 1_000_000, arguments.mnist) for _ in range(arguments.repeats)] for name in SINGLE
        }
        eager = statistics.median(row[1] for row in single["eager"])
        for seconds in (float(part) for part in arguments.work.split(",")):
            steps = max(1, round(seconds / eager))
            autos = [run(case, "auto", steps, arguments.mnist) for _ in range(arguments.repeats)]
            totals = {name: statistics.median(p + steps * s for p, s, _ in rows) for name, rows in single.items()}
            best = min(totals, key=lambda name: totals[name])
            auto, limit = statistics.median(p + steps * s for p, s, _ in autos), 1.10 * totals[best] + 2
            plans = sorted({row[2] for row in autos})
            if arguments.json:
                row = {"case": case, "contender": "auto", "work": seconds, "median": auto, "ratio": auto / totals[best]}
                print(json.dumps({**row, "n": len(autos), "best": best, "totals": totals, "plans": plans}), flush=True)
                continue
            told = "  ".join(f"{name} {value:.1f}" for name, value in totals.items())
            print(
                f"{case:<11} {seconds:4.0f} s of work  {told}  auto {auto:.1f} s ({'; '.join(plans)})  "
                f"limit {limit:.1f}  {'kept' if auto <= limit else 'MISSED'}  n={len(autos)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
