"""`execution=auto` against the best single execution, for 10 seconds, 1 minute and 10 minutes of work, all counted.

Each execution is timed in a process of its own: what it takes to prepare (recording, compiling, and for auto the
measuring and whatever it then does) and seconds a step. The whole time of a training is then prepare + steps x seconds
a step, for as many steps as take an eager loop 10, 60 and 600 seconds; auto is told that number of steps, and decides
by it. Inductor's cache is empty each time, which is the worst for whatever compiles. Contenders take turns.

    python bench/auto.py [--repeats 5] [--cases digits_mlp,...] [--single eager,...] [--work 10,60,600]
                         [--mnist DIR] [--json]
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
GIVEN, LIMIT = 2.0, 1.10  # seconds that auto may take beyond so many times the best


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
        print(choice, file=sys.stderr, flush=True)
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
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is imported has been compiled to bytecode before
        command = [sys.executable, __file__, "--mnist", mnist, "--measure", case, execution, str(steps)]
        out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    _, prepare, seconds, plan = next(line for line in out.splitlines() if line.startswith("RESULT ")).split(" ", 3)
    return float(prepare), float(seconds), plan


def compare(case: str, works: list[float], arguments: argparse.Namespace) -> None:
    """Measure all contenders in turns, in an order that is reversed each time; print a row for each amount of work."""
    single = arguments.single.split(",")
    _, eager, _ = run(case, "eager", 1_000_000, arguments.mnist)
    steps = {work: max(1, round(work / eager)) for work in works}
    asked = [(name, 1_000_000) for name in single] + [("auto", steps[work]) for work in works]
    taken: dict[tuple[str, int], list[tuple[float, float, str]]] = {key: [] for key in asked}
    for repeat in range(arguments.repeats):
        for key in asked[:: 1 if repeat % 2 == 0 else -1]:
            taken[key].append(run(case, *key, arguments.mnist))
    for work in works:
        count = steps[work]
        autos = taken["auto", count]
        totals = {name: [p + count * s for p, s, _ in taken[name, 1_000_000]] for name in single}
        totals["auto"] = [p + count * s for p, s, _ in autos]
        medians = {name: statistics.median(values) for name, values in totals.items()}
        best = min(single, key=lambda name: medians[name])
        share = statistics.median((a - GIVEN) / b for a, b in zip(totals["auto"], totals[best], strict=True))
        prepare, plans = statistics.median(p for p, _, _ in autos), sorted({plan for _, _, plan in autos})
        if arguments.json:
            row = {"case": case, "contender": "auto", "work": work, "median": medians["auto"], "ratio": share}
            more = {"n": len(autos), "best": best, "totals": medians, "prepare": prepare, "plans": plans}
            print(json.dumps({**row, **more}), flush=True)
            continue
        told = "  ".join(f"{name} {medians[name]:.1f}" for name in single)
        print(
            f"{case:<11} {work:4.0f} s of work  {told}  auto {medians['auto']:.1f} s, {prepare:.1f} of them to prepare "
            f"({'; '.join(plans)})  beyond {GIVEN:.0f} s: {share:.2f} of the best, limit {LIMIT:.2f}, "
            f"{'kept' if share <= LIMIT else 'MISSED'}  n={len(autos)}",
            flush=True,
        )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--work", default="10,60,600")
    parser.add_argument("--single", default=",".join(SINGLE), help="the executions that auto is compared with")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("CASE", "EXECUTION", "STEPS"))
    arguments = parser.parse_args()
    if arguments.measure:
        case, execution, steps = arguments.measure
        measure(case, execution, int(steps), arguments.mnist)
        return
    for case in arguments.cases.split(","):
        compare(case, [float(part) for part in arguments.work.split(",")], arguments)


if __name__ == "__main__":
    main()
