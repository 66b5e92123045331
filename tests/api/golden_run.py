"""A run as this format keeps it, for the Shoals to come to read.

    python -m tests.api.golden_run

writes tests/golden/run anew: a training so small that the folder has some tens of kilobytes. After the first release
it is never written again; a new format gets a folder of its own beside it, and the old one must still load, or be
refused with what to do.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import shoal
from shoal.files import to_json

FOLDER = Path(__file__).parents[1] / "golden" / "run"
SETTINGS: dict[str, Any] = {
    "model": {"name": "mlp", "width": 4, "depth": 1},
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "budget": {"steps": 8},
    "evaluate": {"every": 4},
    "checkpoint": {"every": 4},
    "average": {"name": "ema", "decay": 0.5},
    "device": "cpu",
    "execution": "eager",
}
OF_THE_MACHINE: dict[str, Any] = {
    "host": "somewhere",
    "pid": 1,
    "seconds": 1.0,
    "times": {},
    "started": "2026-01-01T00:00:00+00:00",
    "finished": "2026-01-01T00:00:01+00:00",
    "provenance": {"command": "shoal train", "git": None},
}
"""What stands in the record in place of where and when it was trained."""


def train(runs: Path) -> shoal.Run:
    """Train the run, or find it."""
    return shoal.train("digits_mlp", {}, name="golden", runs=runs, quiet=True, **SETTINGS)


def main() -> None:
    """Write the folder."""
    with tempfile.TemporaryDirectory() as runs:
        run = train(Path(runs))
        shutil.rmtree(FOLDER, ignore_errors=True)
        kept = FOLDER / run.folder.parent.name / run.folder.name
        shutil.copytree(run.folder, kept, ignore=shutil.ignore_patterns("lock", "train.log", "code.patch"))
    known = json.loads((kept / "run.json").read_text())
    known |= OF_THE_MACHINE
    (kept / "run.json").write_text(to_json(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
