"""A trial of a step on a copy of the model: what three eager steps lead to, against which a recording is checked."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shoal import rng
from shoal.datasets import Batch
from shoal.errors import ShoalError, place_of, ran_out, said
from shoal.training.attributes import Facts, kept, moved
from shoal.training.eager import EagerStep
from shoal.training.weights import alike, weights_of

Tree = dict[str, Tensor]

LAST_BIT = 2.0**-23
SLACK = 10.0
"""How many times as far apart as two eager trials that began a last bit apart a recording may end."""
EXACT_SLACK = 2.0
"""How many times as far from what float64 leads to as the eager trial a recording may end."""
OWN_SHARE = 0.1
"""How far from where eager steps lead one tensor alone may end, as a share of its way: what matters little in the whole
network must move too."""
MOST_SHARE = 0.05
"""How far from where eager steps lead all weights may end, as a share of their way, where that is not rounding."""
BITS = {"fp32": 23, "tf32": 10, "bf16": 7, "fp16": 10}
"""Binary places of the numbers that are multiplied."""
NO_MEMORY = "there is not enough memory to try it out beside the model"


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
    """Where a trial ended: weights by name, the sum of losses, which parameters never had a gradient, by which values
    of Python's the model keeps count, and in the place of which buffers it puts other tensors."""

    before: Tree
    after: Tree
    loss: float
    idle: frozenset[str] = frozenset()
    counters: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


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

    attributes: list[Facts] = []
    buffers: list[Tree] = []

    def perform(batch: Batch, hyper: Sequence[float]) -> None:
        eager(batch, hyper)
        attributes.append(kept(eager.model, eager.objective.loss))
        buffers.append(dict(eager.model.named_buffers()))

    hooks: list[Any] = [parameter.register_post_accumulate_grad_hook(note) for parameter in eager.trained]
    trial.run(perform)
    for hook in hooks:
        hook.remove()
    idle = frozenset(names[id(parameter)] for parameter in eager.trained) - had
    after = {name: value.detach().clone() for name, value in weights_of(eager.model).items()}
    return Outcome(before, after, float(eager.meter.loss), idle, moved(attributes), _replaced(buffers))


def _replaced(buffers: Sequence[Tree]) -> tuple[str, ...]:
    """The buffers in whose place another tensor of other values was put after the first step."""
    first = buffers[0]
    return tuple(
        name
        for name, value in buffers[-1].items()
        if name not in first or (first[name] is not value and not alike(first[name], value))
    )


def shaken(model: nn.Module, *, bits: int = 23) -> nn.Module:
    """Return a model with its parameters changed in about the last of so many bits, in place: what rounding does."""
    last = 2.0**-bits
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            signs = torch.rand(parameter.shape, generator=generator).lt(0.5).to(parameter.device)
            parameter.mul_(torch.where(signs, 1 - last, 1 + last).to(parameter.dtype))
    return model


def rounded(model: nn.Module, twin: Callable[[nn.Module], EagerStep], trial: Trial, *, precision: str) -> Outcome:
    """Return where a trial ends whose weights began about the last bit of a precision away from the model's own.

    Where products are of few bits that is far beside the way of three steps: what it began with is taken off again.
    """
    bits = BITS[precision]
    if bits == BITS["fp32"]:
        return outcome(twin(shaken(double(model))), trial)
    own = weights_of(model)
    found = outcome(twin(shaken(double(model), bits=bits + 1)), trial)
    after = {
        name: value - (found.before[name] - own[name].detach()) if value.is_floating_point() else value
        for name, value in found.after.items()
    }
    return replace(found, after=after)


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
    if not apart <= min(20 * tolerance, MOST_SHARE) * way + slack * rounding:
        return "it leads to other weights than the eager step"
    for name, value in wanted.after.items():
        apart, way, rounding = (_distance({name: value}, tree) for tree in (found.after, wanted.before, shook.after))
        bits = SLACK * LAST_BIT * _distance({name: torch.zeros_like(value)}, {name: value})
        if not apart <= OWN_SHARE * way + slack * rounding + bits:
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
        float(_apart(value, second[name]).square().sum()) for name, value in first.items() if value.is_floating_point()
    ]
    return sum(squares) ** 0.5


def _apart(first: Tensor, second: Tensor) -> Tensor:
    """The difference of two tensors; a mask of minus infinities is like itself."""
    return torch.where(first == second, 0.0, first.double() - second.double())


def disturbed(purpose: int) -> None:
    """Seed Python's and NumPy's generators with something else: a recording must not depend on them."""
    random.seed(purpose)
    np.random.seed(purpose)  # noqa: NPY002  (the global state that user code draws from)


@contextmanager
def attempted() -> Generator[None]:
    """Turn what fails in the block, which trains a copy of the model, into NotRecordableError; errors of Shoal go on.

    What fails in the model itself fails again where it is trained, and is said there.
    """
    try:
        yield
    except ShoalError:
        raise
    except Exception as error:  # the boundary to the user's code
        if ran_out(error):
            raise NotRecordableError(NO_MEMORY) from None
        raise NotRecordableError(f"a copy of the model cannot be trained{place_of(error)} ({said(error)})") from error


def reason(error: Exception) -> str:
    """Return why recording failed, as a clause with the line of the user's where it did."""
    if isinstance(error, NotRecordableError):
        what, colon, advice = str(error).partition(": ")
        return f"{what}{place_of(error)}{colon}{advice}"
    if ran_out(error):
        return NO_MEMORY
    if "get value out of a tracing tensor" in str(error) or "data-dependent" in str(error).lower():
        return f"Python asks for the value of a tensor in the step{place_of(error)}: torch.cond records such a branch"
    return f"it could not be recorded{place_of(error)} ({said(error)})"
