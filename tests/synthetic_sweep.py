"""A sweep on disk that nothing trained: run folders of the shape that `shoal train` leaves, and the sweep's file."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from shoal.store import RunFolder, RunId
from shoal.store.sweeps import Point, Sweep, write
from tests.synthetic import signature

LRS = [float(f"{10 ** (-3 + at * 3 / 7):.3g}") for at in range(8)]
GRID: dict[str, Sequence[Any]] = {"optimizer.lr": LRS, "model.width": [16, 32, 64, 128, 256]}
RECIPE = """name: {name}
seed: {seed}
batch_size: 32
optimizer:
  name: sgd
  lr: {lr}
model:
  name: mlp
  width: {width}
budget:
  epochs: {epochs}
"""
DEFAULTS = {"optimizer.lr": 0.1, "model.width": 128}
EXAMPLES = {"train": 1257, "valid": 180, "test": 360}
VERSIONS = {"shoal": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.4.6", "pydantic": "2.14.3"}
PLAN = {"engine": "solo", "execution": "eager", "device": "cpu", "threads": 1, "torch": "2.13.0+cpu", "width": 1}


def make_sweep(
    runs: Path,
    name: str = "grid",
    grid: Mapping[str, Sequence[Any]] = GRID,
    *,
    seeds: int = 5,
    epochs: int = 40,
    states: Mapping[tuple[int, int], str] | None = None,
) -> Sweep:
    """Make the runs of a grid and its sweep; `states` says (experiment, seed) which is not finished, and how.

    queued has no folder; failed has a reason and its last metrics are null; unreadable has a damaged record; killed
    says that it is running, and nothing holds its lock.
    """
    keys, points = list(grid), list[Point]()
    for at, values in enumerate(product(*grid.values())):
        chosen = dict(zip(keys, values, strict=True))
        for seed in range(seeds):
            run = RunId("digits_mlp", signature(f"{name} {chosen}"), seed)
            overrides = {**chosen, "seed": seed}
            points.append(Point(run.label, run.signature, seed, chosen, overrides))
            state = (states or {}).get((at, seed), "finished")
            if state != "queued":
                make_trained(RunFolder(runs / run.label), run, chosen, epochs=epochs, state=state)
    base = {"name": "digits_mlp", "optimizer": {"name": "sgd"}, "model": {"name": "mlp"}, "budget": {"epochs": epochs}}
    sweep = Sweep(name, f"shoal sweep digits_mlp --name {name}", base=base, keys=tuple(keys), points=tuple(points))
    write(runs, sweep)
    return sweep


def make_trained(
    folder: RunFolder, run: RunId, chosen: Mapping[str, Any], *, epochs: int, state: str = "finished"
) -> None:
    """Write the files of one run; its curves depend on learning rate and width as those of a small network do."""
    folder.path.mkdir(parents=True)
    lr, width = chosen.get("optimizer.lr", 0.1), chosen.get("model.width", 64)
    lr, width = (lr if isinstance(lr, float) else 0.1), (width if isinstance(width, int) else 64)
    folder.recipe.write_text(RECIPE.format(name=run.name, seed=run.seed, lr=lr, width=width, epochs=epochs))
    rows = _history(random.Random(run.label), lr, width, epochs)
    if state in ("failed", "killed"):
        rows = rows[: epochs // 3]
    folder.history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if state == "unreadable":
        folder.record.write_text('{"format": 1, "name": ')
        return
    status = "running" if state == "killed" else state
    folder.record.write_text(json.dumps(_record(run, chosen, rows, epochs=epochs, status=status), indent=1))
    folder.log.write_text("training\n")


def _history(noise: random.Random, lr: float, width: int, epochs: int) -> list[dict[str, Any]]:
    luck = noise.gauss(0, 0.004)
    fit = math.exp(-((math.log10(lr) + 1.2) ** 2) / 0.9) * (0.9 + 0.1 * math.log2(width) / 8) + luck
    rows: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        done = 1 - math.exp(-epoch * fit / 3)
        loss = 2.3 * (1 - 0.95 * done * fit) + noise.gauss(0, 0.01)
        accuracy = min(1.0, 0.1 + 0.88 * done * min(1.0, fit + 0.05))
        counts = {split: round(accuracy * n + noise.gauss(0, n / 150)) for split, n in EXAMPLES.items()}
        shares = {split: min(1.0, max(0.0, count / EXAMPLES[split])) for split, count in counts.items()}
        train = {"train.loss": loss, "train.accuracy": shares["train"]}
        valid = {"valid.loss": loss * 1.1, "valid.accuracy": shares["valid"], "valid.top5": min(1.0, accuracy + 0.02)}
        rows.append({"step": 39 * epoch, "epoch": float(epoch), "lr": lr * (1 - epoch / epochs), **train, **valid})
    last = {"step": 39 * epochs, "epoch": float(epochs), "test.loss": loss, "test.accuracy": shares["test"]}
    return [*rows, last]


def _record(
    run: RunId, chosen: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, epochs: int, status: str
) -> dict[str, Any]:
    nested: dict[str, Any] = {"batch_size": 32, "dataset": {"name": "digits"}, "budget": {"epochs": epochs}}
    for key, value in chosen.items():
        section, _, last = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[last] = value
    metrics = {key: value for row in rows[-2:] for key, value in row.items() if "." in key}
    failed = status == "failed"
    if failed:
        metrics = dict.fromkeys(metrics)
    reason = "the loss was nan at step 507: lower optimizer.lr" if failed else "the budget is spent"
    return {
        "format": 1, "name": run.name, "signature": run.signature, "seed": run.seed, "status": status, "reason": reason,
        "total_steps": 39 * epochs, "steps_per_epoch": 39, "plan": PLAN, "started": "2026-11-22T08:15:13+00:00",
        "host": "vm", "pid": 1, "parameters": 4810, "steps": rows[-1]["step"], "metrics": metrics, "seconds": 2.5,
        "identity": {"version": 1, "recipe": nested, "digests": {"dataset": "d9dee91baaa8" + "0" * 52}},
        "said": [{"key": key, "value": value, "default": DEFAULTS.get(key)} for key, value in chosen.items()],
        "data": {"name": "digits", "sizes": EXAMPLES, "digest": "d9dee91baaa8" + "0" * 52},
        "provenance": {"host": "vm", "python": "3.11.7", "versions": VERSIONS, "git": None},
        "finished": "2026-11-22T08:15:16+00:00",
    }  # fmt: skip
