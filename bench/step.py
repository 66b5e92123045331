"""Time per training step: Shoal in every execution against a loop written by hand; model, data, optimizer, metrics are
the same.

A repeat is one process for each contender; they take turns of a twentieth of a second, one waiting while the others
run, so that a machine whose speed drifts slows all. A step's time is the whole time of the loop divided by its steps:
evaluations on valid once an epoch with the same metrics are in both, and Shoal's history, checkpoints and screen are
on. The hand-written loop indexes tensors in memory, uses the same optimizer class (fused), and leaves pictures as torch
lays them out, channel by channel; with `--layout auto` it has Shoal's choice. What recording, measuring and compiling
take before the first step is told apart ("prepare"), with inductor's own cache empty unless --warm; what torch imports
to record or compile, or in the first step of an optimizer, is imported before by all.

    python bench/step.py [--repeats 5] [--cases digits_mlp,...] [--contenders eager,captured,...] [--mnist DIR]
                         [--text FILE] [--threads N] [--layout auto] [--warm] [--json]
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
    "digits_mlp": {"steps": 39 * 400, "every": 39},
    "mnist_mlp": {"steps": 429 * 12, "every": 429},
    "mnist_cnn": {"steps": 429, "every": 429},
    "small_gpt": {"steps": 600, "every": 300},
}
LIMITS = {
    ("digits_mlp", "eager"): 1.10,
    ("digits_mlp", "captured"): 0.75,
    ("digits_mlp", "compiled"): 0.40,
    ("mnist_mlp", "eager"): 1.05,
    ("mnist_mlp", "captured"): 0.95,
    ("mnist_cnn", "eager"): 1.03,
    ("mnist_cnn", "auto"): 1.0,
    ("small_gpt", "auto"): 1.0,
}
CONTENDERS = ("hand", "eager", "captured", "compiled", "auto")
TURN = 0.05  # seconds


class Turns:
    """This process's share of the machine: `over()` after each step waits while the other contender has its turn."""

    def __init__(self) -> None:
        self.seconds = self.waited = 0.0
        self._began = 0.0
        self._monotonic = time.monotonic

    def clock(self) -> float:
        """The time without what was spent waiting: what Shoal does by the clock (checkpoints, screen) goes by this."""
        return self._monotonic() - self.waited

    def start(self) -> None:
        """Wait for the next turn."""
        began = self._monotonic()
        print("TURN", flush=True)
        sys.stdin.readline()
        self.waited += self._monotonic() - began
        self._began = time.perf_counter()

    def over(self) -> None:
        """Hand over if this turn has lasted long enough."""
        if time.perf_counter() - self._began > TURN:
            self.stop()
            self.start()

    def stop(self) -> None:
        """Count the turn that ends here."""
        self.seconds += time.perf_counter() - self._began


def workshop(case: str, mnist: str, text: str, execution: str = "eager", layout: str = "auto"):
    """Shoal's own pieces for a case: the hand-written loop borrows data, model and optimizer from them."""
    from shoal.assembly import Workshop
    from shoal.recipe.compose import compose

    words = [f"budget.steps={CASES[case]['steps']}"]
    if case.startswith("mnist"):
        words += [f"dataset.path={mnist}"]
    words += [f"evaluate.every={CASES[case]['every']}", f"execution={execution}", f"channels_last={layout}"]
    if case == "small_gpt":
        words += [f"dataset.path={text}", "dataset.context=64", "model.width=64", "model.depth=2", "batch_size=16"]
        return Workshop(compose("shakespeare_gpt", words))
    return Workshop(compose(case, words))


def in_memory(work, split: str):
    """A split as float32 inputs, normalised, and int64 targets: what a loop written by hand starts from."""
    examples = work.data.splits[split]
    inputs, targets = examples.inputs, examples.targets
    if examples.rows is not None:
        inputs, targets = inputs[examples.rows], targets[examples.rows]
    if examples.tokens:
        return inputs.long().contiguous(), targets.long().contiguous()
    return work.data.normalisation.apply(inputs), targets.long()


def by_hand(work, steps: int, turns: Turns) -> None:
    """The loop one would write."""
    import torch
    import torch.nn.functional as F

    from shoal import optim

    model, batch_size = work.model, work.batch_size
    optimizer = optim.build(work.effective.optimizer, model, work.device)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    train_x, train_y = in_memory(work, "train")
    valid_x, valid_y = in_memory(work, "valid")
    every = int(work.recipe.evaluate.every)
    rows, step, tokens = [], 0, work.recipe.task.name == "language_modelling"
    together = 64 if tokens else 512
    loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    turns.start()
    while step < steps:
        order = torch.randperm(len(train_x))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            index = order[start : start + batch_size]
            x, y = train_x[index], train_y[index]
            outputs = model(x)
            loss = F.cross_entropy(outputs.flatten(0, -2), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            loss_sum += loss.detach()
            if not tokens:
                correct += (outputs.argmax(1) == y).sum()
            step += 1
            if step % every == 0:
                model.eval()
                totals = [0.0, 0.0, 0.0]
                with torch.no_grad():
                    for i in range(0, len(valid_x), together):
                        x, y = valid_x[i : i + together], valid_y[i : i + together]
                        outputs = model(x)
                        totals[0] += F.cross_entropy(outputs.flatten(0, -2), y.flatten(), reduction="sum").item()
                        if tokens:
                            continue
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
    fit, step, plan = module.fit, SoloEngine.step, module._plan

    def timed_plan(*args, **keywords):
        began = time.perf_counter()
        made = plan(*args, **keywords)
        print(f"PREPARE {time.perf_counter() - began} {made[0].execution} {made[0].threads}", flush=True)
        return made

    def timed_step(*args, **keywords):
        result = step(*args, **keywords)
        turns.over()
        return result

    def timed(*args, **keywords):
        turns.start()
        ending = fit(*args, **keywords)
        turns.stop()
        return ending

    module.fit, SoloEngine.step, module._plan = timed, timed_step, timed_plan
    with tempfile.TemporaryDirectory() as runs:
        module.conduct(work.recipe, runs=Path(runs), screen=Screen())


def measure(case: str, contender: str, arguments: argparse.Namespace) -> None:
    """One measurement, in this process: prints seconds a step."""
    import torch
    import torch._inductor  # with torch._dynamo, which a loop by hand imports in its first step

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    execution = "eager" if contender == "hand" else contender
    turns, steps = Turns(), CASES[case]["steps"]
    time.monotonic = turns.clock  # before Shoal is imported
    layout = arguments.layout if contender == "hand" else "auto"
    work = workshop(case, arguments.mnist, arguments.text, execution, layout)
    (by_hand if contender == "hand" else by_shoal)(work, steps, turns)
    print(f"RESULT {turns.seconds / steps}", flush=True)


def interleaved(
    case: str, order: tuple[str, ...], arguments: argparse.Namespace
) -> dict[str, tuple[float, float, str]]:
    """Seconds a step of each contender, what it took to prepare, and as what it ran; they take turns in this order."""
    command = [sys.executable, __file__, "--mnist", arguments.mnist, "--text", arguments.text]
    command += ["--threads", str(arguments.threads), "--layout", arguments.layout, "--measure", case]
    taken: dict[str, tuple[float, float, str]] = {}
    with tempfile.TemporaryDirectory() as cache:
        own = (
            {} if arguments.warm else {"TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor", "SHOAL_CACHE": f"{cache}/shoal"}
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {**os.environ, **own}}
        waiting, told = {}, dict.fromkeys(order, (0.0, ""))
        for name in order:  # one after the other: what they prepare is timed too
            waiting[name] = subprocess.Popen([*command, name], **pipes)
            _, told[name] = until_turn(waiting[name])
        while waiting:
            for name, process in list(waiting.items()):
                process.stdin.write("go\n")
                process.stdin.flush()
                seconds, _ = until_turn(process)
                if seconds is not None:
                    taken[name] = (seconds, *told[name])
                    process.communicate()
                    del waiting[name]
    return taken


def until_turn(process) -> tuple[float | None, tuple[float, str]]:
    """Read what a process prints until its turn is over: its result, if it has finished, and how it was prepared."""
    prepared = (0.0, "")
    for line in process.stdout:
        if line == "TURN\n":
            return None, prepared
        if line.startswith("PREPARE "):
            _, seconds, execution, threads = line.split()
            prepared = (float(seconds), f"{execution}, {threads} thread{'s' * (threads != '1')}")
        if line.startswith("RESULT "):
            return float(line.split()[1]), prepared
    sys.exit(f"a measurement ended early, with exit code {process.wait()}")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--contenders", default=",".join(CONTENDERS[1:]))
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--text", default="../shared/data/tinyshakespeare.txt")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--layout", choices=["no", "auto"], default="no", help="channels_last of the loop by hand")
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "CONTENDER"))
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure, arguments)
        return
    contenders = ("hand", *arguments.contenders.split(","))
    for case in arguments.cases.split(","):
        needed = {"mnist": arguments.mnist, "small": arguments.text}.get(case.partition("_")[0], ".")
        if not Path(needed).exists():
            print(f"{case}: skipped, there is no {needed}", file=sys.stderr)
            continue
        taken: dict[str, list[tuple[float, float, str]]] = {contender: [] for contender in contenders}
        for repeat in range(arguments.repeats):
            for contender, found in interleaved(case, contenders[:: 1 if repeat % 2 == 0 else -1], arguments).items():
                taken[contender].append(found)
        for contender in contenders:
            report(case, contender, taken[contender], taken["hand"], arguments)


def report(case: str, contender: str, taken: list, hand: list, arguments: argparse.Namespace) -> None:
    """Print one row of the table, or one JSON object: the ratio is of medians, its spread that of the pairs."""
    steps, others = [row[0] for row in taken], [row[0] for row in hand]
    median, pairs = statistics.median(steps), [mine / other for mine, other in zip(steps, others, strict=True)]
    ratio, deviation = median / statistics.median(others), statistics.stdev(pairs) if len(pairs) > 1 else 0.0
    prepare, plans = statistics.median(row[1] for row in taken), sorted({row[2] for row in taken})
    if arguments.json:
        row = {"case": case, "contender": contender, "median": median, "ratio": ratio, "n": len(steps)}
        print(
            json.dumps({**row, "deviation": deviation, "prepare": prepare, "plans": plans, "seconds": steps}),
            flush=True,
        )
        return
    limit = f"  (limit {LIMITS[case, contender]:.2f})" if (case, contender) in LIMITS else ""
    spread = f"{min(steps) * 1e6:.0f}-{max(steps) * 1e6:.0f}"
    times = f"{median * 1e6:9.1f} us a step  {spread:>13}"
    told = f"  prepare {prepare:.1f} s ({'; '.join(plans)})" if contender != "hand" else ""
    line = f"{case:<11} {contender:<9} {times}  ratio {ratio:.3f} +- {deviation:.3f}  n={len(steps)}{limit}{told}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
