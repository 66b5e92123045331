"""Runs that are interrupted on purpose, in this process; each attempt makes everything anew, as a new process would.

A kill here is an exception that nothing catches: on its way out training saves nothing, and only the status in
`run.json` differs from what SIGKILL leaves. Real kills are in `tests.faults`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.faults.chaos import result

import shoal
from shoal.store import read_journal
from shoal.training import SoloEngine

EPOCH, STEPS = 6, 15
"""Of 200 of the 1,257 digits that are trained on."""
BASE: dict[str, Any] = {
    "dataset": "digits",
    "batch_size": 200,
    "model": "mlp",
    "model.width": 12,
    "model.dropout": 0.2,
    "model.norm": "batch",
    "budget.steps": STEPS,
    "execution": "eager",
    "log.every": 3,
}
INTERVALS = (5, 4)
"""Between checkpoints, in turn: it makes no difference how many there are."""


@dataclass(frozen=True)
class Case:
    """A training: keys on top of BASE, and what comes from Python. With `workers`, 0 and 2 of them take turns."""

    keys: Mapping[str, Any]
    objects: Mapping[str, Any] = field(default_factory=dict[str, Any])
    workers: bool = False


@dataclass(frozen=True)
class Cut:
    """Where an attempt ends, when `at` steps are done: killed before the next step or in the evaluation, or stopped by
    a signal in the last step or in the midst of the evaluation."""

    how: Literal["killed", "killed evaluating", "stopped", "stopped evaluating"]
    at: int


ROUTE = (Cut("stopped", 2), Cut("killed", 3), Cut("stopped", EPOCH), Cut("killed", 11))
"""Twice within the first epoch, at its end before it is evaluated, and in the last batch of the second epoch, three
steps after a checkpoint and two after a row."""


class Killed(BaseException):
    """What a kill is here."""


@contextmanager
def cutting(cut: Cut | None) -> Generator[None]:
    """Let training end at a cut."""
    step, evaluate = SoloEngine.step, SoloEngine.evaluate

    def cut_step(engine: SoloEngine, batch: Any, hyper: Any) -> None:
        if cut == Cut("killed", engine.steps):
            raise Killed
        step(engine, batch, hyper)
        if cut == Cut("stopped", engine.steps):
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def cut_evaluate(engine: SoloEngine, *arguments: Any, **keywords: Any) -> Any:
        if cut == Cut("killed evaluating", engine.steps):
            raise Killed
        if cut == Cut("stopped evaluating", engine.steps):
            engine.model.register_forward_hook(stop)
        return evaluate(engine, *arguments, **keywords)

    SoloEngine.step, SoloEngine.evaluate = cut_step, cut_evaluate
    try:
        yield
    finally:
        SoloEngine.step, SoloEngine.evaluate = step, evaluate


def attempt(runs: Path, case: Case, cut: Cut | None = None, **changes: Any) -> shoal.Run | None:
    """Train until a cut, or to the end; return the run, None where it was killed."""
    chosen = {*case.objects, *(key for key in case.keys if "." not in key)}
    base = {key: value for key, value in BASE.items() if key.partition(".")[0] not in chosen}
    with cutting(cut):
        try:
            return shoal.train(None, {**base, **case.keys, **changes}, runs=runs, quiet=True, **case.objects)
        except Killed:
            return None


def interrupted(runs: Path, case: Case, route: Sequence[Cut] = ROUTE) -> shoal.Run:
    """Train through all the cuts of a route, and to the end."""
    for number, cut in enumerate((*route, None)):
        changes: dict[str, Any] = {"checkpoint.every": INTERVALS[number % 2]}
        if case.workers:
            changes["dataset.workers"] = 2 * (number % 2)
        run = attempt(runs, case, cut, **changes)
        if cut is not None:
            assert (run.status if run else "killed") == cut.how.split()[0], cut
    assert run is not None
    assert run.status == "finished"
    return run


def same_bits(folder: Path, case: Case, route: Sequence[Cut] = ROUTE) -> shoal.Run:
    """Check that a training that is interrupted ends as one that was left alone; return the one that was not."""
    alone, resumed = attempt(folder / "alone", case), interrupted(folder / "cut", case, route)
    assert alone is not None
    assert resumed.record["attempts"] == len(route) + 1
    found, expected = result(folder / "cut"), result(folder / "alone")
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == [], "these files differ"
    steps = [
        [row["step"] for row in read_journal(resumed.folder / name)[0]] for name in ("history.jsonl", "timing.jsonl")
    ]
    assert steps[0] == steps[1], "no row is missing and none is there twice, in both journals"
    return alone
