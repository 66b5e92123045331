"""Trainings on disks that are full or read-only, as root of a mount namespace; prints what became of each as JSON.

unshare -rm python -m tests.faults.small_disks FOLDER
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from shoal.cli import main
from shoal.training import SoloEngine
from tests.faults.attempts import QUICK
from tests.faults.chaos import result
from tests.synthetic import make_run

WIDE = ("digits_mlp", "model.width=2048", "budget.steps=100", "evaluate.every=50", "checkpoint.every=30")
ROWS = ("digits_mlp", "model.width=256", "budget.steps=200", "evaluate.every=100", "checkpoint.every=90", "log.every=1")


def mount(where: Path, size: str) -> Path:
    """Mount an empty file system in memory."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(where)], check=True)
    return where


def fill(where: Path, leave: int = 0) -> None:
    """Write a file until nothing more fits; then give back some bytes."""
    with (where / "fill").open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(4096)):
                pass
        file.truncate(file.tell() - leave)


def shoal(*words: str) -> dict[str, Any]:
    """Run a command line in this process; return its exit code and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def at_step(number: int, act: Callable[[], None]) -> Callable[[], None]:
    """Do something before a step of this process, counted from 1; return what takes it back."""
    step, calls = SoloEngine.step, list[int]()

    def stepping(self: SoloEngine, batch: Any, hyper: Any) -> None:
        calls.append(1)
        if len(calls) == number:
            act()
        step(self, batch, hyper)

    def back() -> None:
        SoloEngine.step = step

    SoloEngine.step = stepping
    return back


def fills_up(where: Path, words: tuple[str, ...], *, step: int, leave: int) -> dict[str, Any]:
    """Train on a disk that is filled before a step; free it and train on; compare with a disk that has room."""
    train, runs = ["train", *words, "--runs"], where / "runs"
    back = at_step(step, lambda: fill(where, leave))
    found = shoal(*train, str(runs))
    back()
    (folder,) = runs.glob("*/seed-0")
    found["record"] = json.loads((folder / "run.json").read_text())
    found["files"] = sorted(path.name for path in (*folder.iterdir(), *folder.glob("checkpoints/*")))
    found["verified"] = shoal("verify", str(folder))["code"]
    (where / "fill").unlink()
    found["again"] = shoal(*train, str(runs))["code"]
    elsewhere = where.parent / f"{where.name}-roomy"
    shoal(*train, str(elsewhere))
    found["same"] = result(runs) == result(elsewhere)
    return found


def small(where: Path) -> dict[str, Any]:
    """Train where the run fits and its checkpoints do not."""
    found = shoal("train", *WIDE, "--runs", str(where / "runs"))
    return {**found, "saved": [path.name for path in where.glob("runs/*/*/checkpoints/*")]}


def pages(folder: Path, full: Path) -> dict[str, Any]:
    """Report and export a run onto a full disk."""
    shoal("train", *QUICK, "--runs", str(folder / "runs"))
    (run,) = (str(path) for path in (folder / "runs").glob("*/seed-0"))
    fill(full)
    found = {
        "report": shoal("report", run, "-o", str(full / "page.html")),
        "weights": shoal("export", run, "--weights", str(full / "weights.safetensors")),
        "history": shoal("export", run, "--history", str(full / "history.csv")),
    }
    return {**found, "left": sorted(path.name for path in full.iterdir())}


def tell(folder: Path) -> dict[str, Any]:
    """Return what became of everything."""
    read_only, full = mount(folder / "read-only", "1m"), mount(folder / "full", "64k")
    kept = make_run(read_only / "kept")
    subprocess.run(["mount", "-o", "remount,ro", str(read_only)], check=True)
    fill(full)
    return {
        "rm": {**shoal("rm", "--yes", "digits", "--runs", str(read_only / "kept")), "left": kept.record.exists()},
        "read-only": shoal("train", "--json", "--runs", str(read_only / "runs")),
        "full": shoal("train", "--json", "--runs", str(full / "runs")),
        "small": small(mount(folder / "small", "2500k")),
        "save": fills_up(mount(folder / "save", "9m"), WIDE, step=45, leave=300_000),
        "rows": fills_up(mount(folder / "rows", "9m"), ROWS, step=120, leave=0),
        "pages": pages(folder, mount(folder / "pages", "64k")),
    }


if __name__ == "__main__":
    json.dump(tell(Path(sys.argv[1])), sys.stdout)
