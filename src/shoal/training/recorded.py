"""The recorded step: a functional step captured as a graph, checked, then replayed, as it is or compiled.

A recording is made on clones and trusted only when two of them, under other seeds of Python and NumPy, are the same,
and a replay of the first batches ends where eager steps do. What cannot be recorded raises NotRecordableError, and
nothing of the run has changed then.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

from shoal import rng
from shoal.datasets import Batch
from shoal.errors import TrainingError, ran_out, said
from shoal.optim import NamedGroup, Rule
from shoal.training.attributes import LOSS
from shoal.training.branches import branches_of, branchless, refused_by_cond
from shoal.training.capture import bound, flat, record, text
from shoal.training.compiled import NotCompilableError, compiled
from shoal.training.cuda_graph import graphed
from shoal.training.eager import EagerStep
from shoal.training.loss_scale import LossScale
from shoal.training.operations import Returned, Timed, timed
from shoal.training.program import Program, State, Tree, units_of
from shoal.training.recordable import check_graph, check_memory, draws
from shoal.training.step_state import StepState, cloned
from shoal.training.trial import (
    EXACT_SLACK,
    NotRecordableError,
    Outcome,
    Trial,
    attempted,
    comparable,
    differs,
    disturbed,
    double,
    exact,
    outcome,
    reason,
    rounded,
)

TOLERANCE = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 2e-2, "fp16": 1e-2}
"""By how much the losses of three steps may differ, as a share: another order of sums, no more."""
MOST_SHAPES = 8
"""Batches of so many different shapes are recorded; data of more are for eager execution."""


class Hyper(NamedTuple):
    """A step's hypers: as numbers, and as 0-dim tensors on the device."""

    numbers: Sequence[float]
    tensors: Sequence[Tensor]


@dataclass(frozen=True)
class Recording:
    """What an optimizer is to a recorded step: its rules, groups, and hyperparameters that stay as they are.

    `rules` by whether a group is what Muon leaves to AdamW: for all others there is the one under
    False. `renamed` says which of the rule's hyperparameters a scheduled one is: momentum is beta1 of the Adam family.
    """

    rules: Mapping[bool, Rule]
    groups: tuple[NamedGroup, ...]
    fixed: Mapping[str, float]
    renamed: Mapping[str, str]


class RecordedStep:
    """Performs updates of an eager step's model by replaying recordings.

    `twin(model)` makes another eager step over a copy of the model, with a meter of its own.
    """

    skips_on_device = True
    program: Program
    state: StepState

    def __init__(
        self,
        eager: EagerStep,
        recording: Recording,
        *,
        twin: Callable[[nn.Module], EagerStep],
        trial: Trial,
        execution: str,
        averaged: bool,
    ) -> None:
        self.model, self.meter, self.names, self.trained = eager.model, eager.meter, eager.names, eager.trained
        self.guard = eager.guard
        self.execution, self.trial = execution, trial
        self.objective = eager.objective
        self.device = self.meter.device
        self.compile_seconds = 0.0
        self.branching = False
        self.otherwise: Callable[[str], None] | None = None
        """Where set: is told of batches for whose shape the step cannot be recorded, and they are trained without."""
        self.pool: Any = None
        check_memory(eager.model)
        copy = double(eager.model)
        reference = twin(copy)
        with attempted():
            wanted = outcome(reference, trial)
        _refuse_counters(wanted)
        self.meter.prepare(reference.meter)
        groups = [without(group, wanted.idle) for group in recording.groups]
        groups = [group for group in groups if group.names]
        self.compilations: dict[Any, Callable[..., Any]] = {}
        first, numbers = trial.batches[0]
        self.example = self._hyper(numbers)

        def attempt(*, joining: bool) -> fx.GraphModule:
            units = units_of(eager.model, groups, recording.rules, joining=joining)
            self.program = Program(
                model=copy,
                objective=eager.objective,
                rules=recording.rules,
                units=units,
                names=eager.names,
                renamed=recording.renamed,
                fixed=recording.fixed,
                treatment=eager.treatment,
                meter=self.meter,
                guard=self.guard,
                averaged=averaged,
                fused=execution == "captured",
            )
            self.state = StepState(eager, units, recording.rules, averaged=averaged)
            return self._recorded(first, self.example, twice=True)

        try:
            self.graph = attempt(joining=True)
        except NotRecordableError as error:
            if not refused_by_cond(error.__cause__):
                raise
            self.branching = True
        if self.branching:  # torch.cond takes no tensors that share memory, in evaluations either
            self.graph = attempt(joining=False)
        self._check(self.graph, first, wanted, TOLERANCE[eager.objective.precision], twin)
        self.replays: dict[Any, Callable[..., Any]] = {}

    def adopt(self) -> None:
        """Let the model's parameters be views of the state: from here on a replay updates the model.

        Before that a step can be measured and thrown away, and the model is as it was. The copy that was recorded has
        the same memory from here on, and the batches of the trial are let go.
        """
        if self.replays:
            return
        first, _ = self.trial.batches[0]
        self.replays[_shape(first)] = self._bound(self.graph, first, self.state.trees)
        self.state.adopt(self.model, self.program.model)
        self.trial = replace(self.trial, batches=())

    def upload(self, rows: list[list[float]]) -> Sequence[Hyper]:
        """Put a block of hypers on the device, once; return one item a step."""
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        values = torch.tensor(rows, dtype=wide)
        if self.device.type == "cuda":
            values = values.pin_memory().to(self.device, non_blocking=True)
        else:
            values = values.to(self.device)
        if not rows or not rows[0]:
            return [Hyper(row, ()) for row in rows]
        tensors, width = values.flatten().unbind(), len(rows[0])
        return [Hyper(row, tensors[at * width : (at + 1) * width]) for at, row in enumerate(rows)]

    def __call__(self, batch: Batch, hyper: Hyper) -> None:
        """Perform one update; `adopt` comes first."""
        replay = self.replays.get((batch.inputs.shape, batch.targets.shape))
        if replay is None:
            replay = self._another_shape(batch, hyper)
        with torch.inference_mode():
            replay(batch.inputs, batch.targets, batch.index, *hyper.tensors)
        self.meter.count += batch.size

    @property
    def scale(self) -> LossScale | None:
        """The loss scale, where there is one."""
        return LossScale.over(self.state.trees["scale"]) if self.program.treatment.scaled else None

    @property
    def clipping(self) -> Tree:
        """What clipping remembers."""
        return self.state.trees["clip"]

    @property
    def average(self) -> Tree | None:
        """The average of the weights that the recording keeps, by name, buffers included."""
        return self.state.average()

    def optimizer_state(self) -> dict[str, Any]:
        """Return slots by parameter name, as the optimizer's class has them."""
        return self.state.optimizer_state()

    def load_optimizer_state(self, state: Mapping[str, Any], *, steps: int) -> None:
        """Put back what `optimizer_state` returned, of whichever execution."""
        self.state.load_optimizer_state(state, steps=steps)

    def rehearsal(self) -> Callable[[int], None]:
        """Return a function of a step's number that performs it on clones: nothing of the run changes.

        For a step that is not adopted yet.
        """
        clones = cloned(self.state.trees)
        replay = self._bound(self.graph, self.trial.batches[0][0], clones)
        shape = _shape(self.trial.batches[0][0])
        ready = [
            (batch.inputs.clone(), batch.targets.clone(), batch.index, *self._hyper(numbers))
            for batch, numbers in self.trial.batches
            if _shape(batch) == shape
        ]

        def perform(number: int) -> None:
            with torch.inference_mode():
                replay(*ready[number % len(ready)])

        return perform

    def operations(self) -> list[Timed]:
        """Return every operation of the recording with the time it takes alone, measured on clones.

        For a step that is not adopted yet.
        """
        batch, numbers = self.trial.batches[0]
        state = flat(cloned(self.state.trees))
        tensors = [*state, batch.inputs.clone(), batch.targets.clone(), batch.index, *self._hyper(numbers)]
        return timed(self.graph, tensors, state=len(state), names=list(self.inputs()))

    def inputs(self) -> dict[str, Returned]:
        """Return what the recording is given, by name in its order: the state, a batch, hypers."""
        batch, numbers = self.trial.batches[0]
        state = {f"{group}.{name}": tensor for group, tree in self.state.trees.items() for name, tensor in tree.items()}
        given = {"inputs": batch.inputs, "targets": batch.targets, "index": batch.index}
        hyper = dict(zip((f"hyper.{name}" for name in self.names), self._hyper(numbers), strict=True))
        return {name: Returned.of(tensor) for name, tensor in (state | given | hyper).items()}

    def _hyper(self, numbers: Sequence[float]) -> Sequence[Tensor]:
        return self.upload([list(numbers)])[0].tensors

    def _recorded(self, batch: Batch, hyper: Sequence[Tensor], *, twice: bool) -> fx.GraphModule:
        """Record a step on clones; where `twice`, refuse a recording that depends on more than its tensors."""
        tensors = (batch.inputs.clone(), batch.targets.clone(), batch.index.clone())  # a model may write to them
        graphs: list[fx.GraphModule] = []
        with rng.preserved():
            for turn in range(1 + twice):
                disturbed(turn)
                self.trial.seed(0)
                stood = _stands()
                try:
                    graphs.append(record(self.program, cloned(self.state.trees), tensors, hyper))
                except Exception as error:  # the boundary to the user's code: what it does may fail in any way
                    raise NotRecordableError(reason(error)) from error
                for name, before in stood.items():
                    if _stands()[name] != before:
                        raise NotRecordableError(
                            f"it draws from {name}'s generator, and a recording would repeat one draw: torch's own "
                            "are recorded"
                        )
                check_graph(graphs[-1], copy=self.program.model, apart=self.model)
        if twice and text(graphs[0]) != text(graphs[1]):
            raise NotRecordableError(
                "two recordings of a step differ, so it depends on something else than its tensors (a counter, say, or "
                "a tensor that is no buffer)"
            )
        self.branching = bool(branches_of(graphs[0]))
        return branchless(graphs[0]) if self.device.type == "cuda" else graphs[0]

    def _check(
        self,
        graph: fx.GraphModule,
        batch: Batch,
        wanted: Outcome,
        tolerance: float,
        twin: Callable[[nn.Module], EagerStep],
    ) -> None:
        """Replay the trial on clones; raise NotRecordableError where it does not end where the eager steps did."""
        clones = cloned(self.state.trees)
        before = {name: value.clone() for name, value in self.state.weights(clones).items()}
        replays = {_shape(batch): self._bound(graph, batch, clones)}

        def perform(batch: Batch, numbers: Sequence[float]) -> None:
            hyper, shape = self._hyper(numbers), _shape(batch)
            if shape not in replays:
                replays[shape] = self._recorded_for(batch, hyper, clones)
            with torch.inference_mode():
                replays[shape](batch.inputs, batch.targets, batch.index, *hyper)

        try:
            self.trial.run(perform)
        except NotRecordableError:
            raise
        except Exception as error:  # the boundary to operations that can be recorded and not replayed
            why = reason(error) if ran_out(error) else f"it could not be replayed ({said(error)})"
            raise NotRecordableError(why) from error
        found = Outcome(before, self.state.weights(clones), float(clones["meter"]["loss"]))
        apart = differs(found, wanted, wanted, tolerance=tolerance)
        if apart is not None:  # by rounding, perhaps: how far that goes costs another trial
            near = rounded(self.model, twin, self.trial, precision=self.objective.precision)
            apart = differs(found, wanted, near, tolerance=tolerance)
        if (
            apart is not None and self.objective.precision == "fp32" and not draws(graph)
        ):  # or by that of the eager step
            truth = exact(self.model, twin, self.trial)
            if truth is not None and comparable(wanted, truth):
                apart = differs(found, truth, wanted, tolerance=tolerance, slack=EXACT_SLACK)
        if apart is not None:
            raise NotRecordableError(f"a replay is not the same as eager steps: {apart}")

    def _bound(self, graph: fx.GraphModule, batch: Batch, state: State) -> Callable[..., Any]:
        """Return the function of (inputs, targets, index, *hypers) that performs a recorded step on a state."""
        tensors = [batch.inputs, batch.targets, batch.index, *self.example]
        if self.execution == "compiled":
            call, own = self._compiled(graph, batch, tensors), flat(state)

            def replay(*rest: Tensor) -> None:
                call([*own, *rest])

        else:
            replay = bound(graph, state)
        if self.device.type != "cuda":
            return replay
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        return graphed(replay, tensors, keep=flat(state), pool=self.pool)

    def _compiled(self, graph: fx.GraphModule, batch: Batch, rest: Sequence[Tensor]) -> Callable[..., Any]:
        key = _shape(batch)
        if key not in self.compilations:
            began = time.perf_counter()
            self.compilations[key] = compiled(graph, [*flat(cloned(self.state.trees)), *rest])
            self.compile_seconds += time.perf_counter() - began
        return self.compilations[key]

    def _another_shape(self, batch: Batch, hyper: Hyper) -> Callable[..., Any]:
        """Record a step for batches of a shape that has not been seen: the last of an epoch, usually."""
        assert self.replays, "adopt() comes before the first step"
        if len(self.replays) >= MOST_SHAPES:
            if self.otherwise is None:
                raise TrainingError(
                    f"batches come in more than {MOST_SHAPES} shapes, the last of {list(batch.inputs.shape)}: expected "
                    "a few that recur, since each is recorded. Set execution=eager, or pad examples to one shape."
                )
            if len(self.replays) == MOST_SHAPES:
                self.otherwise(
                    f"batches come in more than {MOST_SHAPES} shapes, the last of {list(batch.inputs.shape)}: those of "
                    "further shapes run eagerly."
                )
            self.replays[_shape(batch)] = self._unrecorded
            return self._unrecorded
        try:
            self.replays[_shape(batch)] = replay = self._recorded_for(batch, hyper.tensors, self.state.trees)
        except (NotRecordableError, NotCompilableError) as error:
            if self.otherwise is not None:
                self.otherwise(
                    f"a batch of shape {list(batch.inputs.shape)} came, and the step cannot be recorded for it: "
                    f"{error}. Batches of this shape run eagerly."
                )
                self.replays[_shape(batch)] = self._unrecorded
                return self._unrecorded
            raise TrainingError(
                f"a batch of shape {list(batch.inputs.shape)} came, and the step cannot be recorded for it: {error}. "
                "Set execution=eager."
            ) from error
        return replay

    def _recorded_for(self, batch: Batch, hyper: Sequence[Tensor], state: State) -> Callable[..., Any]:
        """Return what performs steps on batches of such a shape; generators stay where this step's seed put them."""
        where = [generator.get_state() for generator in self.trial.generators]
        try:
            return self._bound(self._recorded(batch, hyper, twice=False), batch, state)
        finally:
            for generator, standing in zip(self.trial.generators, where, strict=True):
                generator.set_state(standing)

    def _unrecorded(self, inputs: Tensor, targets: Tensor, index: Tensor, *hyper: Tensor) -> None:
        """Perform the step that is recorded elsewhere, as Python runs it: the same operations on the same state."""
        with torch.inference_mode(False):
            self.program(self.state.trees, inputs, targets, index, hyper)


def without(group: NamedGroup, idle: Collection[str]) -> NamedGroup:
    """Return a group without the parameters that never have a gradient: no optimizer touches them."""
    return replace(group, names=tuple(name for name in group.names if name not in idle))


def _refuse_counters(wanted: Outcome) -> None:
    """Raise NotRecordableError where a model keeps count by itself: a recording has the numbers of one step."""
    if wanted.counters == (LOSS,):
        raise NotRecordableError(
            "the loss function changes what it keeps in Python from step to step, which a recording would leave as it "
            "was"
        )
    if wanted.counters:
        raise NotRecordableError(
            f"the model changes {', '.join(wanted.counters)} from step to step, which a recording would leave as it "
            "was: buffers are recorded"
        )
    if wanted.replaced:
        raise NotRecordableError(
            f"the model puts another tensor in the place of its buffer {wanted.replaced[0]} at every step, which a "
            "recording would leave as it was: write to it in place"
        )


def _stands() -> dict[str, object]:
    """Where the generators stand that only Python code draws from."""
    return {"Python": random.getstate(), "NumPy": repr(np.random.get_state(legacy=False))}  # noqa: NPY002


def _shape(batch: Batch) -> tuple[torch.Size, torch.Size]:
    return batch.inputs.shape, batch.targets.shape
