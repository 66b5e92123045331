"""A trial of a step on a copy of the model: what three eager steps lead to, against which a recording is checked."""

from __future__ import annotations

import copy
import math
import random
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from shoal import rng
from shoal.datasets import Batch
from shoal.errors import ShoalError
from shoal.training.eager import EagerStep
from shoal.training.weights import weights_of

Tree = dict[str, Tensor]

LAST_BIT = 2.0**-23
SLACK = 10.0
"""How many times as far apart as two eager trials that began a last bit apart a recording may end."""
EXACT_SLACK = 2.0
"""How many times as far from what float64 leads to as the eager trial a recording may end."""
OWN_SHARE = 0.1
"""How far from where eager steps lead one tensor alone may end, as a share of its way: what matters little in the whole
network must move too."""
PLAIN = (bool, int, float, str)
"""Values of Python's that a model may keep count by."""


class NotRecordableError(ShoalError):
    """A step that cannot be recorded, or cannot be trusted once it is; the message is a clause that says why."""


@dataclass(frozen=True)
class Trial:
    """The first batches of a training with their hypers, and how each step is seeded."""

    batches: Sequence[tuple[Batch, Sequence[float]]]
    seeds: rng.StepSeeds
    generators: Sequence[torch.Generator]

    def seed(self, step: int) -> None:
        """Put torch's generators where they stand at the start of a step, and Python's and NumPy's somewhere."""
        for generator in self.generators:
            generator.manual_seed(self.seeds.at(step))

    def run(self, perform: Callable[[Batch, Sequence[float]], None]) -> None:
        """Perform every step of the trial, on copies of its batches: a model may write to what it is given.

        The caller's generators are left alone.
        """
        with rng.preserved():
            for step, (batch, hyper) in enumerate(self.batches):
                self.seed(step)
                perform(copied(batch), hyper)


def copied(batch: Batch) -> Batch:
    """Return a batch whose inputs and targets a model may write to."""
    return replace(batch, inputs=batch.inputs.clone(), targets=batch.targets.clone())


@dataclass(frozen=True)
class Outcome:
    """Where a trial ended: weights by name, the sum of losses, which parameters never had a gradient, and by which
    attributes, plain values of Python's, the model keeps count."""

    before: Tree
    after: Tree
    loss: float
    idle: frozenset[str] = frozenset()
    counters: tuple[str, ...] = ()


def double(model: nn.Module) -> nn.Module:
    """Return a copy of a model to be trained and thrown away; raises NotRecordableError where it cannot be copied."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # the boundary to the user's code: what cannot be copied may raise anything
        raise NotRecordableError(f"the model cannot be copied ({said(error)})") from error


def outcome(eager: EagerStep, trial: Trial) -> Outcome:
    """Perform a trial by an eager step, whose model and meter are changed."""
    names = {id(parameter): name for name, parameter in eager.model.named_parameters()}
    before = {name: value.detach().clone() for name, value in weights_of(eager.model).items()}
    had: set[str] = set()

    def note(parameter: Tensor) -> None:
        had.add(names[id(parameter)])

    attributes: list[dict[str, Any]] = []

    def perform(batch: Batch, hyper: Sequence[float]) -> None:
        eager(batch, hyper)
        attributes.append(_attributes(eager.model))

    hooks: list[Any] = [parameter.register_post_accumulate_grad_hook(note) for parameter in eager.trained]
    trial.run(perform)
    for hook in hooks:
        hook.remove()
    idle = frozenset(names[id(parameter)] for parameter in eager.trained) - had
    after = {name: value.detach().clone() for name, value in weights_of(eager.model).items()}
    return Outcome(before, after, float(eager.meter.loss), idle, _moving(attributes))


def _attributes(model: nn.Module) -> dict[str, Any]:
    """The attributes of a model's modules that are plain values of Python's, by path."""
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    return {
        f"{path}.{key}" if path else key: value
        for path, module in modules
        for key, value in vars(module).items()
        if type(value) in PLAIN
    }


def _moving(attributes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The attributes that differ between the first step, which may set up what is kept, and the last one."""
    first, last = attributes[0], attributes[-1]
    return tuple(name for name, value in last.items() if name not in first or first[name] != value)


def shaken(model: nn.Module) -> nn.Module:
    """Return a model with its parameters changed in about the last bit, in place: what rounding alone does."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            signs = torch.rand(parameter.shape, generator=generator).lt(0.5).to(parameter.device)
            parameter.mul_(torch.where(signs, 1 - LAST_BIT, 1 + LAST_BIT).to(parameter.dtype))
    return model


def exact(model: nn.Module, twin: Callable[[nn.Module], EagerStep], trial: Trial) -> Outcome | None:
    """Return where a trial ends in float64; None where the model cannot be trained so, or in what is another training.

    Eager kernels are not exact themselves: torch's batch norm on a CPU is some 3e-5 off, as a share, and where a max
    pool then chooses between numbers that are nearly the same, gradients are hundredths off.
    """
    wide = [(replace(batch, inputs=_doubled(batch.inputs)), numbers) for batch, numbers in trial.batches]
    try:
        return outcome(twin(double(model).double()), replace(trial, batches=wide))
    except Exception:  # noqa: BLE001  (the boundary to the user's code, which need not know of float64)
        return None


def _doubled(inputs: Tensor) -> Tensor:
    return inputs.double() if inputs.is_floating_point() else inputs


def comparable(wanted: Outcome, truth: Outcome) -> bool:
    """Whether a trial in float64 is the same training: masks of dropout, for one, are drawn otherwise there."""
    return _distance(wanted.after, truth.after) <= OWN_SHARE * _distance(wanted.before, wanted.after)


def differs(found: Outcome, wanted: Outcome, shook: Outcome, *, tolerance: float, slack: float = SLACK) -> str | None:
    """Return in what two trials differ by more than rounding, or None.

    `shook` is one that differs from `wanted` by rounding alone, such as an eager trial whose weights began a last bit
    away. Where a gradient is rounding alone, as that of a bias before a batch norm, an adaptive optimizer makes a step
    of it in a direction that means nothing; that shows there.
    """
    if not _alike(found.loss, wanted.loss, shook.loss, tolerance, slack):
        return f"its losses differ from the eager ones ({found.loss:.6g} and {wanted.loss:.6g} in all)"
    for name, value in wanted.after.items():
        if not value.is_floating_point() and not torch.equal(found.after[name], value):
            return f"it leaves {name} as something else than the eager step"
    apart, way, rounding = (
        _distance(*pair)
        for pair in ((found.after, wanted.after), (wanted.before, wanted.after), (shook.after, wanted.after))
    )
    if not apart <= 20 * tolerance * way + slack * rounding:
        return "it leads to other weights than the eager step"
    for name, value in wanted.after.items():
        apart, way, rounding = (_distance({name: value}, tree) for tree in (found.after, wanted.before, shook.after))
        bits = SLACK * LAST_BIT * _distance({name: torch.zeros_like(value)}, {name: value})
        if not apart <= max(OWN_SHARE, 20 * tolerance) * way + slack * rounding + bits:
            return f"it leads to another {name} than the eager step"
    return None


def _alike(found: float, wanted: float, shook: float, tolerance: float, slack: float) -> bool:
    """Whether a sum of losses is another one to rounding; one that is not finite is like any other such."""
    if not math.isfinite(wanted):
        return not math.isfinite(found)
    return abs(found - wanted) <= tolerance * max(abs(wanted), 1e-6) + slack * abs(shook - wanted)


def _distance(first: Tree, second: Tree) -> float:
    """The norm of the difference of two sets of weights."""
    squares = [
        float((value.double() - second[name].double()).square().sum())
        for name, value in first.items()
        if value.is_floating_point()
    ]
    return sum(squares) ** 0.5


def disturbed(purpose: int) -> None:
    """Seed Python's and NumPy's generators with something else: a recording must not depend on them."""
    random.seed(purpose)
    np.random.seed(purpose)  # noqa: NPY002  (the global state that user code draws from)


def reason(error: Exception) -> str:
    """Return why recording failed, as a clause with the line of the user's where it did."""
    if "get value out of a tracing tensor" in str(error) or "data-dependent" in str(error).lower():
        return f"Python asks for the value of a tensor in the step{_place(error)}: torch.cond records such a branch"
    return f"it could not be recorded{_place(error)} ({said(error)})"


def _place(error: Exception) -> str:
    """Where the user's own code was, whatever it called."""
    ours = (Path(torch.__file__).parent, Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(Path(frame.filename).is_relative_to(folder) for folder in ours) and frame.filename.endswith(".py")
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""


def said(error: Exception) -> str:
    """Return an exception as a clause: its kind, and its first line, with the next where that only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return f"{type(error).__name__}: {first.rstrip('.')}"
