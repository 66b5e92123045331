"""Time per training step: Shoal's loop against a loop written by hand, on the same model, data, optimizer and metrics.

A repeat is one process for each contender; they take turns of a twentieth of a second, one waiting while the other
runs, so that a machine whose speed drifts slows both. A step's time is the whole time of the loop divided by its steps:
evaluations on valid once an epoch with the same metrics are in both, and Shoal's history, checkpoints and screen are
on. The hand-written loop indexes tensors in memory and uses the same optimizer class (fused).

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
    "digits_mlp": {"steps": 39 * 400},
    "mnist_mlp": {"steps": 429 * 8},
    "mnist_cnn": {"steps": 429},
}
LIMITS = {"digits_mlp": 1.10, "mnist_mlp": 1.05, "mnist_cnn": 1.03}
CONTENDERS = ("hand", "shoal")
TURN = 0.05  # seconds


class Turns:
    """This process's share of the machine: `over()` after each step waits while the other contender has its turn."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        """Wait for the first turn."""
        print("TURN", flush=True)
        sys.stdin.readline()
        self._began = time.perf_counter()

    def over(self) -> None:
        """Hand over if this turn has lasted long enough."""
        if time.perf_counter() - self._began > TURN:
            self.stop()
            self.start()

    def stop(self) -> None:
        """Count the turn that ends here."""
        self.seconds += time.perf_counter() - self._began


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


def by_hand(work, steps: int, turns: Turns) -> None:
    """The loop one would write."""
    import torch
    import torch.nn.functional as F

    model, optimizer, batch_size = work.model, work.optimizer, work.recipe.batch_size
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    train_x, train_y = in_memory(work, "train")
    valid_x, valid_y = in_memory(work, "valid")
    every = int(work.recipe.evaluate.every)
    rows, step = [], 0
    loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    turns.start()
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
            turns.over()
            if step == steps:
                break
    turns.stop()


def by_shoal(work, steps: int, turns: Turns) -> None:
    """The whole of `fit`, with history, checkpoints and screen."""
    del steps
    import shoal.assembly.conduct  # noqa: F401
    from shoal.assembly import Screen
    from shoal.training.solo import SoloEngine

    module = sys.modules["shoal.assembly.conduct"]
    fit, step = module.fit, SoloEngine.step

    def timed_step(*args, **keywords):
        result = step(*args, **keywords)
        turns.over()
        return result

    def timed(*args, **keywords):
        turns.start()
        ending = fit(*args, **keywords)
        turns.stop()
        return ending

    module.fit, SoloEngine.step = timed, timed_step
    with tempfile.TemporaryDirectory() as runs:
        module.conduct(work.recipe, runs=Path(runs), screen=Screen())


def measure(case: str, contender: str, mnist: str) -> None:
    """One measurement, in this process: prints seconds a step."""
    import torch

    if os.environ.get("BENCH_THREADS"):
        torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
    work, steps, turns = workshop(case, mnist), CASES[case]["steps"], Turns()
    (by_hand if contender == "hand" else by_shoal)(work, steps, turns)
    print(f"RESULT {turns.seconds / steps}", flush=True)


def interleaved(case: str, order: tuple[str, ...], arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a step of each contender, from two processes that take turns in this order."""
    environment = {**os.environ, **({"BENCH_THREADS": str(arguments.threads)} if arguments.threads else {})}
    command = [sys.executable, __file__, "--mnist", arguments.mnist, "--measure", case]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    waiting = {name: subprocess.Popen([*command, name], **pipes) for name in order}
    for process in waiting.values():
        until_turn(process)
    taken: dict[str, float] = {}
    while waiting:
        for name, process in list(waiting.items()):
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds = until_turn(process)
            if seconds is not None:
                taken[name] = seconds
                process.communicate()
                del waiting[name]
    return taken


def until_turn(process) -> float | None:
    """Read what a process prints until its turn is over: its result, if it has finished."""
    for line in process.stdout:
        if line == "TURN\n":
            return None
        if line.startswith("RESULT "):
            return float(line.split()[1])
    sys.exit(f"a measurement ended early, with exit code {process.wait()}")


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
            for contender, seconds in interleaved(case, CONTENDERS[:: 1 if repeat % 2 == 0 else -1], arguments).items():
                taken[contender].append(seconds)
        for contender in CONTENDERS:
            report(case, contender, taken[contender], taken["hand"], arguments)


def report(case: str, contender: str, taken: list[float], hand: list[float], arguments: argparse.Namespace) -> None:
    """Print one row of the table, or one JSON object: the ratio is of medians, its spread that of the pairs."""
    median, pairs = statistics.median(taken), [mine / other for mine, other in zip(taken, hand, strict=True)]
    ratio, deviation = median / statistics.median(hand), statistics.stdev(pairs) if len(pairs) > 1 else 0.0
    if arguments.json:
        row = {"case": case, "contender": contender, "seconds": taken, "ratio": ratio, "deviation": deviation}
        print(json.dumps(row), flush=True)
        return
    limit = f"  (limit {LIMITS[case]:.2f})" if contender == "shoal" else ""
    spread = f"{min(taken) * 1e6:.0f}-{max(taken) * 1e6:.0f}"
    times = f"{median * 1e6:9.1f} us a step  {spread:>13}"
    print(f"{case:<12} {contender:<6} {times}  ratio {ratio:.3f} +- {deviation:.3f}  n={len(taken)}{limit}", flush=True)


if __name__ == "__main__":
    main()
