"""What a checkpoint costs a training of 25 million parameters under AdamW (300 MB of state), and what verifying takes.

Saving: how long steps wait (stall), as a number of steps, and how much longer the steps take while the rest is written
beside them (slowed). Contenders take turns: Shoal's writer, Shoal in the foreground, and torch.save in the foreground,
which neither flushes nor hashes. Verifying: `shoal verify` as a process, beside `sha256sum` of the same files, in MB a
second; the files have just been written, so it is the speed of memory and not that of the disk.

    python bench/checkpoints.py [--repeats 5] [--cases mlp,gpt,verify] [--text FILE] [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MLP = ["digits_mlp", "model.width=2048", "model.depth=7", "batch_size=256"]
GPT = ["shakespeare_gpt", "model.width=512", "model.depth=8", "model.heads=8", "batch_size=8", "dataset.context=128"]
COMMON = ["optimizer=adamw", "optimizer.lr=1e-4", "execution=eager", "budget.steps=100000"]
FEW = {"mlp": 8, "gpt": 2}
"""Steps that are timed before each save."""


class Trained:
    """A training whose steps can be timed, and whose state can be saved."""

    def __init__(self, case: str, text: str) -> None:
        from shoal.assembly import Workshop
        from shoal.datasets import START
        from shoal.recipe.compose import compose
        from shoal.training.plan import decide

        preset, *words = MLP if case == "mlp" else [*GPT, f"dataset.path={text}"]
        work = Workshop(compose(preset, [*words, *COMMON]))
        self.engine = work.engine(decide(work.device, execution="eager"), work.stepping.step("eager", print))
        self.batches, self.rows = work.batches.start(START), self.engine.upload(work.hypers.block(0, 1))
        self.parameters = sum(p.numel() for p in work.model.parameters())
        self.few = FEW[case]

    def step(self) -> float:
        """Perform a step; return its seconds."""
        batch, began = next(self.batches), time.perf_counter()
        self.engine.step(batch, self.rows[0])
        return time.perf_counter() - began

    def states(self) -> dict:
        """What a checkpoint holds."""
        return {"engine": self.engine.state_dict(), "callbacks": {}}


def contenders(folder: Path) -> dict[str, Callable[[dict], Callable[[], bool]]]:
    """How to save: each starts with some states, and returns what tells whether it is still being done."""
    import torch

    from shoal.checkpoints import Writer, save

    def beside(states: dict) -> Callable[[], bool]:
        writer = Writer(folder / "checkpoints", keep=2)
        writer.save(1, states, {})

        def going() -> bool:
            writer.check()
            return writer._thread is not None

        return going

    def foreground(states: dict) -> Callable[[], bool]:
        save(folder / "checkpoints", 1, states, {})
        return lambda: False

    def by_torch(states: dict) -> Callable[[], bool]:
        torch.save(states, folder / "checkpoint.pt")
        return lambda: False

    return {"shoal": beside, "shoal, foreground": foreground, "torch.save": by_torch}


def saving(case: str, arguments: argparse.Namespace) -> None:
    """Measure what a save costs the steps."""
    trained = Trained(case, arguments.text)
    taken: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(3):
        trained.step()
    for repeat in range(arguments.repeats):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            ways = list(contenders(Path(name)).items())
            for contender, start in ways[:: 1 if repeat % 2 == 0 else -1]:
                taken.setdefault(contender, []).append(one(trained, start))
                shutil.rmtree(Path(name) / "checkpoints", ignore_errors=True)
                (Path(name) / "checkpoint.pt").unlink(missing_ok=True)
    for contender, rows in taken.items():
        stall, slowed, step = (statistics.median(values) for values in zip(*rows, strict=True))
        ratio = statistics.median(row[0] / row[2] for row in rows)
        label = f"{case}, {trained.parameters / 1e6:.1f} M"
        row = {"case": label, "contender": contender, "median": stall, "ratio": ratio, "n": len(rows)}
        text = f"{label:<12} {contender:<18} stall {stall:6.3f} s, {ratio:6.2f} steps of {step:.3f} s"
        show(
            {**row, "slowed": slowed, "step": step}, f"{text}; then slowed by {slowed:6.3f} s  n={len(rows)}", arguments
        )


def one(trained: Trained, start: Callable[[dict], Callable[[], bool]]) -> tuple[float, float, float]:
    """Save once: seconds that steps wait, seconds that those beside the writing take longer, seconds of a step."""
    step = statistics.median(trained.step() for _ in range(trained.few))
    began = time.perf_counter()
    writing = start(trained.states())
    stall, beside = time.perf_counter() - began, list[float]()
    while writing():
        beside.append(trained.step())
    return stall, sum(beside) - len(beside) * step, step


def verifying(arguments: argparse.Namespace) -> None:
    """Measure how fast two checkpoints are read again and compared with their checksums."""
    from shoal.checkpoints import save
    from shoal.store import RunId, create, record

    trained = Trained("mlp", arguments.text)
    trained.step()  # from then on there are slots
    states = trained.states()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        run = create(Path(name), RunId("bench", "0" * 32, 0))
        record.update(run, status="finished", signature="0" * 32)
        for step in (1, 2):
            save(run.checkpoints, step, states, {})
        files = [str(path) for path in sorted(run.checkpoints.glob("*/*"))]
        size = sum(Path(path).stat().st_size for path in files)
        verify = [sys.executable, "-m", "shoal", "verify", str(run.path)]
        commands, taken = {"sha256sum": ["sha256sum", *files], "shoal verify": verify}, dict[str, list[float]]()
        for repeat in range(arguments.repeats):
            for contender, command in list(commands.items())[:: 1 if repeat % 2 == 0 else -1]:
                began = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                taken.setdefault(contender, []).append(size / 1e6 / (time.perf_counter() - began))
    for contender, rates in taken.items():
        pairs = zip(rates, taken["sha256sum"], strict=True)
        median, ratio = statistics.median(rates), statistics.median(mine / other for mine, other in pairs)
        row = {"case": "verify", "contender": contender, "median": median, "ratio": ratio, "n": len(rates)}
        text = f"{'verify':<12} {contender:<18} {median:7.0f} MB/s of {size / 1e6:.0f} MB  ratio {ratio:.2f}"
        show(row, f"{text}  n={len(rates)}", arguments)


def show(row: dict, text: str, arguments: argparse.Namespace) -> None:
    """Print one row of the table, or one JSON object."""
    print(json.dumps(row) if arguments.json else text, flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", default="mlp,gpt,verify")
    parser.add_argument("--text", default="../shared/data/tinyshakespeare.txt")
    parser.add_argument("--folder", help="where to write; by default the system's folder for temporary files")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for case in arguments.cases.split(","):
        if case == "verify":
            verifying(arguments)
        elif case == "gpt" and not Path(arguments.text).exists():
            print(f"gpt: skipped, there is no {arguments.text}", file=sys.stderr)
        else:
            saving(case, arguments)


if __name__ == "__main__":
    main()
