"""A trial of a step on a copy of the model: what three eager steps lead to, against which a recording is checked."""

from __future__ import annotations

import copy
import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        """Perform every step of the trial."""
        for step, (batch, hyper) in enumerate(self.batches):
            self.seed(step)
            perform(batch, hyper)


@dataclass(frozen=True)
class Outcome:
    """Where a trial ended: weights by name, the sum of losses, and which parameters never had a gradient."""

    before: Tree
    after: Tree
    loss: float
    idle: frozenset[str]


def double(model: nn.Module) -> nn.Module:
    """Return a copy of a model to be trained and thrown away; raises NotRecordableError where it cannot be copied."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # the boundary to the user's code: what cannot be copied may raise anything
        raise NotRecordableError(f"the model cannot be copied ({_said(error)})") from error


def outcome(eager: EagerStep, trial: Trial) -> Outcome:
    """Perform a trial by an eager step, whose model and meter are changed."""
    names = {id(parameter): name for name, parameter in eager.model.named_parameters()}
    before = {name: value.detach().clone() for name, value in weights_of(eager.model).items()}
    had: set[str] = set()

    def note(parameter: Tensor) -> None:
        had.add(names[id(parameter)])

    hooks: list[Any] = [parameter.register_post_accumulate_grad_hook(note) for parameter in eager.trained]
    trial.run(eager)
    for hook in hooks:
        hook.remove()
    idle = frozenset(names[id(parameter)] for parameter in eager.trained) - had
    after = {name: value.detach().clone() for name, value in weights_of(eager.model).items()}
    return Outcome(before, after, float(eager.meter.loss), idle)


def shaken(model: nn.Module) -> nn.Module:
    """Return a model with its parameters changed in about the last bit, in place: what rounding alone does."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            signs = torch.rand(parameter.shape, generator=generator).lt(0.5).to(parameter.device)
            parameter.mul_(torch.where(signs, 1 - LAST_BIT, 1 + LAST_BIT).to(parameter.dtype))
    return model


def differs(found: Outcome, wanted: Outcome, shook: Outcome, *, tolerance: float) -> str | None:
    """Return in what two trials differ by more than rounding, or None.

    `shook` is an eager trial whose weights began a last bit away. Where a gradient is rounding alone, as that of a bias
    before a batch norm, an adaptive optimizer makes a step of it in a direction that means nothing; that shows there.
    """
    if not abs(found.loss - wanted.loss) <= tolerance * max(abs(wanted.loss), 1e-6) + SLACK * abs(
        shook.loss - wanted.loss
    ):
        return f"its losses differ from the eager ones ({found.loss:.6g} and {wanted.loss:.6g} in all)"
    for name, value in wanted.after.items():
        if not value.is_floating_point() and not torch.equal(found.after[name], value):
            return f"it leaves {name} as something else than the eager step"
    apart, way, rounding = (
        _distance(*pair)
        for pair in ((found.after, wanted.after), (wanted.before, wanted.after), (shook.after, wanted.after))
    )
    if not apart <= 20 * tolerance * way + SLACK * rounding:
        return "it leads to other weights than the eager step"
    return None


def _distance(first: Tree, second: Tree) -> float:
    """The norm of the difference of two sets of weights."""
    squares = [
        float((first[name].double() - value.double()).square().sum())
        for name, value in second.items()
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
    return f"it could not be recorded{_place(error)} ({_said(error)})"


def _place(error: Exception) -> str:
    """Where the user's own code was, whatever it called."""
    ours = (Path(torch.__file__).parent, Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(Path(frame.filename).is_relative_to(folder) for folder in ours) and frame.filename.endswith(".py")
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')}"
