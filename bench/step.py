"""Time per training step: Shoal's loop against a loop written by hand, on the same model, data, optimizer and metrics.

Each measurement is a process of its own; contenders take turns. A step's time is the whole time of the loop divided
by its steps: evaluations on valid once an epoch with the same metrics are in both, and Shoal's history, checkpoints
and screen are on. The hand-written loop indexes tensors in memory and uses the same optimizer class (fused).

    python bench/step.py [--repeats 5] [--cases digits_mlp,mnist_mlp,mnist_cnn] [--mnist DIR] [--threads N] [--json]
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

CASES = {
    "digits_mlp": {"steps": 39 * 200},
    "mnist_mlp": {"steps": 429 * 2},
    "mnist_cnn": {"steps": 60},
}
LIMITS = {"digits_mlp": 1.10, "mnist_mlp": 1.05, "mnist_cnn": 1.03}
CONTENDERS = ("hand", "shoal")


def workshop(case: str, mnist: str):
    """Shoal's own pieces for a case: the hand-written loop borrows data, model and optimizer from them."""
    from shoal.assembly import Workshop
    from shoal.recipe.compose import compose

    words = [f"budget.steps={CASES[case]['steps']}"]
    if case.startswith("mnist"):
        words += [f"dataset.path={mnist}"]
    per_epoch = {"digits_mlp": 39}.get(case, 429)
    if CASES[case]["steps"] >= per_epoch:
        words += [f"evaluate.every={per_epoch}"]
    else:
        words += [f"evaluate.every={CASES[case]['steps']}"]
    return Workshop(compose(case, words))


def in_memory(work, split: str):
    """A split as float32 inputs, normalised, and int64 targets: what a loop written by hand starts from."""
    examples = work.data.splits[split]
    inputs, targets = examples.inputs, examples.targets
    if examples.rows is not None:
        inputs, targets = inputs[examples.rows], targets[examples.rows]
    return work.data.normalisation.apply(inputs), targets.long()


def by_hand(work, steps: int) -> float:
    """The loop one would write: returns seconds."""
    import torch
    import torch.nn.functional as F

    model, optimizer, batch_size = work.model, work.optimizer, work.recipe.batch_size
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    train_x, train_y = in_memory(work, "train")
    valid_x, valid_y = in_memory(work, "valid")
    every = int(work.recipe.evaluate.every)
    rows, step = [], 0
    loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    began = time.perf_counter()
    while step < steps:
        order = torch.randperm(len(train_x))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            index = order[start : start + batch_size]
            x, y = train_x[index], train_y[index]
            outputs = model(x)
            loss = F.cross_entropy(outputs, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            loss_sum += loss.detach()
            correct += (outputs.argmax(1) == y).sum()
            step += 1
            if step % every == 0:
                model.eval()
                totals = [0.0, 0.0, 0.0]
                with torch.no_grad():
                    for i in range(0, len(valid_x), 512):
                        x, y = valid_x[i : i + 512], valid_y[i : i + 512]
                        outputs = model(x)
                        totals[0] += F.cross_entropy(outputs, y, reduction="sum").item()
                        totals[1] += (outputs.argmax(1) == y).sum().item()
                        totals[2] += (outputs.topk(5).indices == y[:, None]).any(1).sum().item()
                model.train()
                rows.append([loss_sum.item(), correct.item(), *totals])
                loss_sum.zero_()
                correct.zero_()
            if step == steps:
                break
    return time.perf_counter() - began


def by_shoal(work, steps: int) -> float:
    """The whole of `fit`, with history, checkpoints and screen: returns seconds."""
    del steps
    import shoal.assembly.conduct  # noqa: F401
    from shoal.assembly import Screen

    module = sys.modules["shoal.assembly.conduct"]
    fit, taken = module.fit, []

    def timed(*args, **keywords):
        began = time.perf_counter()
        ending = fit(*args, **keywords)
        taken.append(time.perf_counter() - began)
        return ending

    module.fit = timed
    with tempfile.TemporaryDirectory() as runs:
        module.conduct(work.recipe, runs=Path(runs), screen=Screen())
    return taken[0]


def measure(case: str, contender: str, mnist: str) -> None:
    """One measurement, in this process: prints seconds a step."""
    import torch

    if os.environ.get("BENCH_THREADS"):
        torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
    work, steps = workshop(case, mnist), CASES[case]["steps"]
    seconds = (by_hand if contender == "hand" else by_shoal)(work, steps)
    print(f"RESULT {seconds / steps}")


def run(case: str, contender: str, arguments: argparse.Namespace) -> float:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", case, contender, "--mnist", arguments.mnist]
    environment = {**os.environ, **({"BENCH_THREADS": str(arguments.threads)} if arguments.threads else {})}
    output = subprocess.run(command, capture_output=True, text=True, env=environment)
    if output.returncode:
        sys.exit(output.stderr)
    return float(output.stdout.rsplit("RESULT ", 1)[1])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "CONTENDER"))
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure, arguments.mnist)
        return
    for case in arguments.cases.split(","):
        if case.startswith("mnist") and not Path(arguments.mnist).is_dir():
            print(f"{case}: skipped, there is no folder {arguments.mnist}", file=sys.stderr)
            continue
        taken: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
        for repeat in range(arguments.repeats):
            for contender in CONTENDERS if repeat % 2 == 0 else reversed(CONTENDERS):
                taken[contender].append(run(case, contender, arguments))
        base = statistics.median(taken["hand"])
        for contender in CONTENDERS:
            report(case, contender, taken[contender], base, arguments)


def report(case: str, contender: str, taken: list[float], base: float, arguments: argparse.Namespace) -> None:
    """Print one row of the table, or one JSON object."""
    median = statistics.median(taken)
    row = {"case": case, "contender": contender, "median": median, "ratio": median / base, "n": len(taken)}
    if arguments.json:
        print(json.dumps(row), flush=True)
        return
    limit = f"  (limit {LIMITS[case]:.2f})" if contender == "shoal" else ""
    spread = f"{min(taken) * 1e6:.0f}-{max(taken) * 1e6:.0f}"
    times = f"{median * 1e6:9.1f} us a step  {spread:>13}"
    print(f"{case:<12} {contender:<6} {times}  ratio {median / base:.3f}  n={len(taken)}{limit}", flush=True)


if __name__ == "__main__":
    main()
