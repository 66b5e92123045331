"""A training small enough to be compared bit for bit: 48 examples in 6 batches, a network with every kind of state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoal import optim, tasks
from shoal.assembly.stepping import Step, Stepping, calibrating
from shoal.checkpoints import plain
from shoal.datasets import START, Examples, MemoryBatches, Origin, Position
from shoal.recipe.optimizer_parts import OptimizerPart
from shoal.recipe.parse import parse
from shoal.tasks import Targets, Task
from shoal.training import (
    Agenda,
    BestWeights,
    Callback,
    EarlyStop,
    Ending,
    Engine,
    Evaluation,
    Plan,
    Pulse,
    Row,
    ScheduledHypers,
    SoloEngine,
    fit,
)
from shoal.training.columns import Columns
from shoal.training.eager import EagerStep
from shoal.training.hypers import scheduled
from shoal.training.meter import Meter
from shoal.training.objective import Objective
from shoal.training.plateau import plateaus
from shoal.training.seams import Skips
from shoal.training.solo import Averaging
from shoal.training.treatment import Treatment

CPU = torch.device("cpu")
PLAN = Plan(engine="solo", execution="eager", device="cpu", threads=1, torch=str(torch.__version__))
SGD: dict[str, Any] = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
ADAMW: dict[str, Any] = {"name": "adamw", "lr": 0.02}


def examples(count: int, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=generator)
    return Examples(inputs, (inputs[:, :3] + torch.randn(count, 3, generator=generator)).argmax(1))


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(dropout), nn.Linear(10, 3)]
    return nn.Sequential(*layers)


def classification() -> Task:
    part = parse({"task": {"name": "classification"}}).task
    return tasks.build(part, Targets(3, (), None, CPU))


@dataclass
class Memory:
    """A recorder that keeps everything; states go through bytes, as they do on disk."""

    written: list[Row] = field(default_factory=list)
    saves: dict[int, tuple[Position, bytes, int]] = field(default_factory=dict)
    due: set[int] = field(default_factory=set)
    ticks: list[int] = field(default_factory=list)
    skips: list[Skips] = field(default_factory=list)
    wants_save: bool = False

    def rows(self, rows: Sequence[Row]) -> None:
        self.written.extend(rows)

    def save(self, engine: Engine, at: Position, callbacks: Sequence[Callback], *, due: bool = False) -> None:
        (self.due.add if due else self.due.discard)(at.step)
        state = {"engine": engine.state_dict(), "callbacks": {each.name: each.state_dict() for each in callbacks}}
        buffer = io.BytesIO()
        torch.save(plain(state), buffer)
        self.saves[at.step] = at, buffer.getvalue(), len(self.written)

    def skipped(self, run: int, skips: Skips, origin: Origin | None) -> None:
        self.skips.append(skips)

    def tick(self, at: Position) -> bool:
        self.ticks.append(at.step)
        return self.wants_save

    def state(self, step: int) -> dict[str, Any]:
        return cast("dict[str, Any]", torch.load(io.BytesIO(self.saves[step][1]), weights_only=True))


def eager_step(
    model: nn.Module, task: Task, optimizer: torch.optim.Optimizer, *, names: Sequence[str] = ("lr",)
) -> EagerStep:
    """Return an eager step of nothing but a model, a loss and an optimizer."""
    return EagerStep(
        model,
        Objective(task, task.loss, CPU),
        optimizer,
        names=names,
        treatment=Treatment(),
        meter=Meter(task.metrics, CPU),
    )


@dataclass
class Training:
    """Every piece of one training, from the keys of a recipe; with an `optimizer` of its own it runs eagerly."""

    keys: Mapping[str, Any] = field(default_factory=dict)
    model: nn.Module = field(default_factory=network)
    task: Task = field(default_factory=classification)
    count: int = 48
    optimizer: torch.optim.Optimizer | None = None
    valid: bool = True
    watch: bool = False
    patience: int = 100
    execution: str = "eager"
    at: Position = START
    due: bool = False

    def __post_init__(self) -> None:
        defaults: dict[str, Any] = {"batch_size": 8, "optimizer": SGD, "budget": {"epochs": 2}}
        self.recipe = parse({**defaults, **self.keys})
        self.batches = MemoryBatches(
            examples(self.count),
            batch_size=8,
            seed=self.recipe.seed,
            drop_last=cast(Any, self.recipe.dataset).drop_last,
            device=CPU,
            normalisation=None,
            training=True,
        )
        part = cast(OptimizerPart, self.recipe.optimizer)
        given = self.optimizer
        self.optimizer = given or optim.build(part, self.model, CPU)
        self.agenda = Agenda.of(self.recipe, self.batches.per_epoch)
        self.objective = Objective(self.task, self.task.loss, CPU, precision=self.recipe.precision)
        base = {name: optim.base_value(self.optimizer, name) for name in scheduled(self.recipe)}
        controllers = plateaus(self.recipe, lambda path, metric: False)
        self.hypers = Columns(
            ScheduledHypers(
                self.recipe, base, self.agenda.total, per_epoch=self.agenda.per_epoch, controllers=controllers
            ),
            objective=self.objective,
            average=self.recipe.average,
            picture=(1, 1),
            seed=self.recipe.seed,
            per_epoch=self.agenda.per_epoch,
            by_epochs=self.recipe.budget.epochs is not None,
        )
        self.stepping = Stepping(self.recipe, self.model, self.objective, self.hypers, self.batches, self.agenda.total)
        self.said: list[str] = []
        if given is None:
            self.step: Step = self.stepping.step(self.execution, self.said.append)
        else:
            self.step = eager_step(self.model, self.task, given, names=self.hypers.names)
        averaging = None
        if self.recipe.average.name != "none":
            averaging = Averaging(self.recipe.average.name, calibrating(self.batches))
        plan = replace(PLAN, execution=self.step.execution)
        self.engine = SoloEngine(self.step, self.task, seed=self.recipe.seed, plan=plan, averaging=averaging)
        self.callbacks: list[Callback] = []
        if self.watch:
            self.callbacks = [
                BestWeights("valid.loss", higher=False),
                EarlyStop("valid.loss", higher=False, patience=self.patience),
            ]
        self.callbacks.extend(controllers.values())
        self.recorder = Memory()
        self.pulse = Pulse(seconds=1e9)

    @property
    def evaluation(self) -> Evaluation:
        """A valid split of 21 examples, its last batch padded."""
        return Evaluation("valid", evaluation_batches(examples(21, seed=1), pad=True))

    def fit(self) -> Ending:
        return fit(
            self.engine,
            self.batches,
            hypers=self.hypers,
            agenda=self.agenda,
            recorder=self.recorder,
            pulse=self.pulse,
            evaluation=self.evaluation if self.valid else None,
            callbacks=self.callbacks,
            at=self.at,
            due=self.due,
        )

    def resume(self, recorder: Memory, step: int) -> None:
        """Put everything back to a checkpoint, the rows that were written by then included."""
        self.at, _, rows = recorder.saves[step]
        self.due = step in recorder.due
        state = recorder.state(step)
        self.engine.load_state_dict(state["engine"])
        for callback in self.callbacks:
            callback.load_state_dict(state["callbacks"][callback.name])
        self.recorder.written = recorder.written[:rows]

    def final_bytes(self) -> bytes:
        """Weights, buffers, slots, best weights, sums and callbacks, as the last checkpoint has them."""
        return self.recorder.saves[max(self.recorder.saves)][1]


def evaluation_batches(split: Examples, *, pad: bool, batch_size: int = 8) -> MemoryBatches:
    return MemoryBatches(
        split,
        batch_size=batch_size,
        seed=0,
        drop_last=False,
        device=CPU,
        normalisation=None,
        training=False,
        pad=pad,
    )


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Return whether two sets of tensors are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
