"""Which execution a training takes, on how many threads: what is measured on a few steps, and the choice it leads to.

Measured are eager and recorded steps on a copy of the model. Compiling is tried where what it may save of the steps
that are left is worth more than it costs. The choice is a pure function of the measurements, which are kept for the
machine: the seeds of one experiment are trained under one plan, and so is the same recipe started elsewhere.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import torch

from shoal.training.recorded import RecordedStep

K = TypeVar("K")
FEW_STEPS = 200
"""A training of fewer steps is not worth any measurement."""
EXECUTIONS = ("eager", "captured", "compiled")
SHORT_SECONDS = 4.0
"""... nor is one of less than so much eager work."""
IMPORT_SECONDS = 1.5
"""What torch imports before it records a step takes, once a process; an eager one needs none of it."""
RECORD_SECONDS_A_PARAMETER = 0.09
"""What recording a step twice takes, roughly, for each of the model's parameters (`bench/auto.py`)."""
LOOKING_STEPS = 30
"""Steps, about, that the first looks at executions take."""
SPARE_SECONDS, SPARE_SHARE = 2.0, 0.05
"""What looking may take where it gains nothing: so many seconds, and so much of the work that is left."""
MEASURE_SECONDS = 0.12
WARM_UP = 3
CLEARLY = 0.95
"""What is measured to take more than this share of the time is not faster for certain."""
COMPILE_SECONDS, COMPILE_SECONDS_A_NODE = 15.0, 0.08
"""What compiling takes, roughly, before it has been measured (`bench/step.py`, with inductor's cache empty)."""
LOOKING_SHARE = 0.02
"""What looking may take before there is no look more, as a share of the work that is left."""
AGAIN = (1.6, 1.2)
"""How far from the best, as a share of it, what is looked at a second and a third time may be."""
SAVED_SHARE = 0.5
"""The share of what small operations take that compiling saves, at least, in the cases measured (`bench/step.py`)."""
WORTH = 1.5
"""How many times its cost compiling must be expected to save."""


@dataclass(frozen=True)
class Measured:
    """Seconds a step of each execution, and what preparing them took; None where it was not measured or cannot be."""

    threads: int
    eager: float | None = None
    captured: float | None = None
    heavy: float = 0.0
    nodes: int = 0
    compiled: float | None = None
    compile_seconds: float | None = None
    refused: str | None = None
    not_compiled: str | None = None
    taken: str | None = None
    steps: int = 0

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Measured:
        """Return measurements from plain values; raises ValueError or TypeError where they are none."""
        seconds = [plain.get(name) for name in ("eager", "captured", "compiled", "compile_seconds") if name in plain]
        texts = [plain.get(name) for name in ("refused", "not_compiled")]
        if plain.get("taken") not in (None, *EXECUTIONS) or type(plain.get("steps", 0)) is not int:
            raise ValueError("taken, steps: expected an execution and a whole number")
        if not all(value is None or _is_duration(value) for value in seconds) or not _is_duration(plain["heavy"]):
            raise ValueError("seconds: expected finite numbers that are not negative")
        if not all(value is None or isinstance(value, str) for value in texts):
            raise ValueError("reasons: expected texts")
        if type(plain["threads"]) is not int or plain["threads"] < 1 or type(plain["nodes"]) is not int:
            raise ValueError("threads, nodes: expected whole numbers")
        return cls(**plain)

    def plain(self) -> dict[str, Any]:
        """Return the measurements as plain values."""
        return asdict(self)

    def decided(self, execution: str, steps: int) -> Measured:
        """Return the measurements with the execution that was taken for so many steps."""
        return replace(self, taken=execution, steps=steps)

    def taken_for(self, steps: int) -> str | None:
        """Return which execution another training of about so many steps took: one of an experiment's other seeds."""
        alike = self.taken is not None and 0 < steps < 10 * self.steps and self.steps < 10 * steps
        return self.taken if alike else None

    def captured_now(self, seconds: float) -> Measured:
        """Return the measurements at the machine's present speed, at which a captured step takes so many seconds."""
        assert self.captured is not None
        slower = seconds / self.captured
        return replace(self, captured=seconds, eager=(self.eager or 0.0) * slower, heavy=self.heavy * slower)

    @property
    def short(self) -> bool:
        """Whether nothing but an eager step was measured, for its work is too little to gain from."""
        return self.captured is None and self.refused is None

    def seconds(self, execution: str) -> float:
        """Return what a step takes by one of the executions that were measured."""
        found: float | None = getattr(self, execution)
        return found or 0.0

    @property
    def best(self) -> tuple[str, float]:
        """The fastest execution that was measured and what it takes."""
        eager = self.eager or 0.0
        name, seconds = "eager", eager
        if self.captured is not None and self.captured < CLEARLY * eager:
            name, seconds = "captured", self.captured
        if self.compiled is not None and self.compiled < CLEARLY * seconds:
            name, seconds = "compiled", self.compiled
        return name, seconds


@dataclass(frozen=True)
class Choice:
    """What a training runs as, and why in one sentence."""

    execution: str
    threads: int
    why: str
    measured: Measured | None = None


def is_short(eager: float, steps: int, parameters: int) -> bool:
    """Return whether steps that take `eager` seconds each are too little work to gain from: looking may cost more.

    `parameters` is the number of the model's parameters, as tensors.

    >>> is_short(1e-3, 2_000, 4), is_short(1e-3, 60_000, 4), is_short(0.04, 400, 60)
    (True, False, True)
    """
    imports = 0.0 if "torch._inductor" in sys.modules else IMPORT_SECONDS
    looking = imports + RECORD_SECONDS_A_PARAMETER * parameters + LOOKING_STEPS * eager
    work = eager * steps
    return work < SHORT_SECONDS or looking > SPARE_SECONDS + SPARE_SHARE * work


def worth_compiling(measured: Measured, steps: int) -> bool:
    """Return whether compiling is expected to save more of `steps` steps than it costs."""
    if measured.captured is None or measured.not_compiled is not None:
        return False
    _, present = replace(measured, compiled=None).best
    if measured.compiled is not None:
        saved = present - measured.compiled
        return saved * steps > (measured.compile_seconds or 0.0)
    cost = measured.compile_seconds or COMPILE_SECONDS + COMPILE_SECONDS_A_NODE * measured.nodes
    saved = present - (measured.heavy + (1 - SAVED_SHARE) * max(measured.captured - measured.heavy, 0.0))
    return saved * steps > WORTH * cost


def chosen(measured: Measured, steps: int, *, ready: bool = False) -> Choice:
    """Return the choice that measurements lead to, for so many steps; `ready`: compiling has been paid for.

    What was taken before for about so many steps is taken again, so that every seed of an experiment has one plan.
    """
    assert measured.eager is not None
    taken = measured.taken_for(steps)
    if taken == "eager" and measured.short:
        why = f"eager; {measured.eager * steps:.1f} s of work is too little to gain from"
        return Choice("eager", measured.threads, why, measured)
    without = replace(measured, compiled=None)
    compiled = measured.compiled is not None and (ready or worth_compiling(measured, steps))
    name, seconds = (measured if compiled else without).best
    if taken is not None:
        name, seconds = taken, measured.seconds(taken)
    told = f"{name}, {_milliseconds(seconds)} a step"
    others = [
        f"{_milliseconds(value)} {other}"
        for other, value in (
            ("eager", measured.eager),
            ("captured", measured.captured),
            ("compiled", measured.compiled),
        )
        if value is not None and other != name
    ]
    why = f"{told} against {' and '.join(others)}" if others else told
    if measured.refused is not None:
        why += f"; the step cannot be captured: {measured.refused}"
    elif measured.not_compiled is not None:
        why += f"; it was not compiled: {measured.not_compiled}"
    elif name != "compiled" and measured.compiled is None and measured.captured is not None:
        why += f"; compiling does not pay in {_duration(seconds * steps)} of work"
    return Choice(name, measured.threads, why, measured if taken is not None else measured.decided(name, steps))


def seconds_a_step(perform: Callable[[int], None], device: torch.device) -> float:
    """Return what one step takes: the least of several rounds of about equal length, after a few to warm up."""
    once = float("inf")
    for step in range(WARM_UP):
        began = time.perf_counter()
        perform(step)
        _wait(device)
        once = max(time.perf_counter() - began, 1e-6)
        if once > MEASURE_SECONDS and step:
            return once
    rounds, each = 4, max(1, int(MEASURE_SECONDS / 4 / once))
    best = float("inf")
    for _ in range(rounds if once < MEASURE_SECONDS else 1):
        began = time.perf_counter()
        for step in range(each):
            perform(step)
        _wait(device)
        best = min(best, (time.perf_counter() - began) / each)
    return best


def compared(looks: Mapping[K, Callable[[], float]], *, seconds: float) -> dict[K, float]:
    """Return the seconds of each, the least of several looks in turns, for a machine may be busy during one of them.

    What is far from the best is not looked at again, and nothing is once that has taken so many seconds.
    """
    began = time.perf_counter()
    taken = {key: look() for key, look in looks.items()}
    for share in AGAIN:
        if time.perf_counter() - began > seconds:
            break
        least = min(taken.values())
        near = [key for key, seconds in taken.items() if seconds <= share * least]
        if len(near) == 1:
            break
        for key in near:
            taken[key] = min(taken[key], looks[key]())
    return taken


def step_seconds(step: Any, batches: Sequence[tuple[Any, Sequence[float]]], device: torch.device) -> float:
    """Return what a step takes on some batches with their hypers; the step's model is changed."""
    rows = [list(numbers) for _, numbers in batches]
    uploaded = step.upload(rows)

    def perform(number: int) -> None:
        at = number % len(batches)
        step(batches[at][0], uploaded[at])

    return seconds_a_step(perform, device)


def recorded_seconds(step: RecordedStep) -> float:
    """Return what a recorded step takes, on clones of its state."""
    return seconds_a_step(step.rehearsal(), step.device)


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
