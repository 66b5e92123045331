"""The solo engine: one run and one model; whether its steps run eagerly or from a recording is the plan's choice.

A step never waits for the device where the optimizer takes `found_inf` (torch's fused classes, and rules): a non-finite
loss makes this update and all after it a no-op on the device, and `bad_steps` tells. Other optimizers are guarded by
reading that number on the host before each update.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shoal import rng
from shoal.checkpoints import plain
from shoal.datasets import Batch, Batches
from shoal.errors import CheckpointError, ran_out
from shoal.optim import (
    Average,
    batch_norm_statistics,
    functional_call,
    lookahead_,
    point_average,
    spectral_vectors,
)
from shoal.tasks import Task
from shoal.training.eager import EagerStep
from shoal.training.evaluation import Observer, evaluate
from shoal.training.extra_state import extra_state, lent, load_extra_state
from shoal.training.memory import out_of_memory
from shoal.training.objective import SHARE
from shoal.training.plan import Plan
from shoal.training.precision import as_float32, autocasting
from shoal.training.recorded import Hyper, RecordedStep
from shoal.training.seams import Bad, Skips, Weights
from shoal.training.weights import evaluating, load_weights, weights_of

Step = EagerStep | RecordedStep


@dataclass(frozen=True)
class Averaging:
    """How an average of the weights is kept: `ema` at every step, `swa` and `lookahead` at a few.

    `inputs` yields batches of train from which the statistics of batch norms are computed anew for averaged weights.
    """

    name: str
    inputs: Callable[[], Iterable[Tensor]]


class SoloEngine:
    """Performs the steps of one run.

    Each step seeds torch's generators from (seed, step); those of Python and NumPy are seeded at step 0, and where
    they stand is a part of the state.
    """

    runs = 1

    def __init__(self, step: Step, task: Task, *, seed: int, plan: Plan, averaging: Averaging | None = None) -> None:
        if isinstance(step, RecordedStep):
            step.adopt()
        self.perform, self.model, self.meter, self.guard = step, step.model, step.meter, step.guard
        self.task, self.plan, self.seed = task, plan, seed
        self.device = torch.device(plan.device)
        self.seeds = rng.StepSeeds(seed)
        self.generators = generators(self.device)
        self.trained = step.trained
        self.skips_on_device = step.skips_on_device
        self.best: dict[str, Tensor] | None = None
        self.best_extra: dict[str, Any] | None = None
        self.averaging = averaging
        self.share = step.names.index(SHARE) if averaging is not None and SHARE in step.names else None
        self.in_recording = isinstance(step, RecordedStep) and step.average is not None
        self.average = Average(self._averaged_of()) if self.share is not None and not self.in_recording else None
        self.averaged = 0
        self.statistics: dict[str, Tensor] = {}
        self.measured = -1
        self.steps = 0
        self.evaluation_seconds = 0.0

    def upload(self, block: np.ndarray) -> Sequence[Any]:
        """Take hypers [steps, 1, H] as the step reads them: plain floats, or tensors on the device."""
        return self.perform.upload(block[:, 0, :].tolist())

    def step(self, batch: Batch, hyper: Any) -> None:
        """Perform one update."""
        if self.steps == 0:
            rng.seed_all(rng.key(self.seed, "global"))
        seed = self.seeds.at(self.steps)
        for generator in self.generators:
            generator.manual_seed(seed)
        try:
            self.perform(batch, hyper)
        except Exception as error:
            if ran_out(error):
                raise out_of_memory(self.steps + 1, batch.size) from error
            raise
        self.steps += 1
        if self.share is not None:
            share = (hyper.numbers if isinstance(hyper, Hyper) else hyper)[self.share]
            if share:
                self._average(share)

    def evaluate(
        self, batches: Batches, *, weights: Weights = "raw", observer: Observer | None = None
    ) -> list[dict[str, float]]:
        """Return every metric over one pass, with the present weights, the best ones or the averaged ones."""
        began = time.perf_counter()
        chosen = None
        if weights == "best":
            chosen = self.best
        elif weights == "average":
            chosen = self.averaged_weights()

        precision = self.perform.objective.precision

        def forward(inputs: Any) -> Tensor:
            with autocasting(precision, self.device):
                outputs = self.model(inputs) if chosen is None else functional_call(self.model, chosen, (inputs,))
            return as_float32(outputs)

        try:
            with evaluating(self.model), lent(self.model, self.best_extra if weights == "best" else None):
                found = evaluate(forward, self.task, batches, seed=self.seed, observer=observer)
        except Exception as error:
            if ran_out(error):
                raise out_of_memory(None, None) from error
            raise
        self.evaluation_seconds += time.perf_counter() - began
        return [found]

    def has_average(self) -> bool:
        """Return whether there are averaged weights by now."""
        return self.averaged > 0 or (self.steps > 0 and self._point() is not None)

    def averaged_weights(self) -> dict[str, Tensor]:
        """Return the averaged weights, with the vectors of spectral norms and statistics of batch norms of their own.

        What the average does not hold is the model's present: the buffers, for Lookahead and schedule-free.
        """
        kept = self._kept_average()
        assert kept is not None
        weights = {**weights_of(self.model), **kept}
        if self.measured != self.steps:
            self.statistics = self._statistics(weights)
            self.measured = self.steps
        return {**weights, **self.statistics}

    def bad_steps(self) -> list[Bad | None]:
        """Return the step for which training is to stop, or None."""
        return [self.guard.bad(self.steps, loss=self.meter.loss)]

    def skips(self) -> list[Skips | None]:
        """Return the updates that the guard left out so far."""
        return [self.guard.skips(self.steps)]

    def finite(self) -> list[bool]:
        """Return whether all weights are finite."""
        largest = torch.nn.utils.get_total_norm([p.detach() for p in self.trained], norm_type=float("inf"))
        return [bool(largest.isfinite().item())]

    def loss_scales(self) -> list[float | None]:
        """Return the loss scale of fp16; None under other precisions."""
        scale = self.perform.scale
        return [None if scale is None else float(scale.scale.item())]

    def skipped(self) -> int | None:
        """Return how many updates were skipped for an overflow of fp16; None under other precisions."""
        scale = self.perform.scale
        return None if scale is None else int(scale.skipped.item())

    def drain(self) -> list[dict[str, float]]:
        """Return and reset what the steps added up to."""
        return [self.meter.drain()]

    def keep(self, run: int = 0, *, weights: Weights = "raw") -> None:
        """Remember the present weights, or the averaged ones, as the best."""
        assert run == 0
        chosen = self.averaged_weights() if weights == "average" else weights_of(self.model)
        present = {name: value.detach() for name, value in chosen.items()}
        self.best_extra = plain(extra_state(self.model)) or None
        if self.best is None:
            self.best = {name: value.clone() for name, value in present.items()}
            return
        for name, value in present.items():
            self.best[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the run's state by name: live tensors, to be saved before the next step."""
        weights = weights_of(self.model)
        parameters = dict(self.model.named_parameters())
        scale, extra = self.perform.scale, extra_state(self.model)
        return {
            "parameters": parameters,
            "buffers": {name: value for name, value in weights.items() if name not in parameters},
            **self.perform.optimizer_state(),
            "meter": self.meter.state_dict(),
            "guard": self.guard.state_dict(),
            "best": self.best,
            "average": self._average_state(),
            "clip": dict(self.perform.clipping),
            "scale": scale.state_dict() if scale is not None else None,
            "steps": self.steps,
            "random": rng.captured(),
            **({"extra": extra, "best_extra": self.best_extra} if extra else {}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned; Python's and NumPy's generators too.

        Raises CheckpointError where it is that of another model or optimizer.
        """
        load_weights(self.model, {**state["parameters"], **state["buffers"]})
        load_extra_state(self.model, state.get("extra"))
        self.best_extra = state.get("best_extra")
        self.steps = int(state["steps"])
        self.perform.load_optimizer_state(state, steps=self.steps)
        self.meter.load_state_dict(state["meter"])
        self.guard.load_state_dict(state.get("guard") or {})
        best = state["best"]
        self.best = None if best is None else {name: value.to(self.device).clone() for name, value in best.items()}
        self._load_average(state.get("average") or {})
        for name, tensor in self.perform.clipping.items():
            tensor.copy_(state["clip"][name])
        if self.perform.scale is not None and state.get("scale") is not None:
            self.perform.scale.load_state_dict(state["scale"])
        rng.restore(state["random"])

    def _average(self, share: float) -> None:
        """Move the average; a recording that keeps it has done so already."""
        self.averaged += 1
        if self.average is None:
            return
        assert self.averaging is not None
        if self.averaging.name == "lookahead":
            lookahead_(self.average.average, self._averaged_of(), share)
        else:
            self.average.update(self._averaged_of(), share)

    def _averaged_of(self) -> dict[str, Tensor]:
        """What of the model is averaged: Lookahead's slow weights are parameters only."""
        assert self.averaging is not None
        return dict(self.model.named_parameters()) if self.averaging.name == "lookahead" else weights_of(self.model)

    def _statistics(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Buffers that are to be computed anew for averaged weights, under the precision of the training."""
        assert self.averaging is not None
        spectral = spectral_vectors(self.model, weights)
        if self.averaging.name == "ema":  # statistics of batch norms are averaged as the weights are
            return spectral
        with autocasting(self.perform.objective.precision, self.device):
            inputs = self.averaging.inputs()
            found = batch_norm_statistics(self.model, {**weights, **spectral}, inputs, seed=self.seed)
        return {name: value for name, value in found.items() if value is not weights[name]}

    def _point(self) -> dict[str, Tensor] | None:
        """The weights at which the optimizer itself says that the model is to be measured (schedule-free)."""
        if not isinstance(self.perform, EagerStep):
            return None
        return point_average(self.perform.optimizer, self.model)

    def _kept_average(self) -> dict[str, Tensor] | None:
        """The average as it is kept; that of a schedule-free optimizer has no memory of its own."""
        point = self._point()
        if point is not None:
            return point
        if isinstance(self.perform, RecordedStep) and self.perform.average is not None:
            return self.perform.average
        return None if self.average is None else self.average.weights()

    def _average_state(self) -> dict[str, Any]:
        """What a checkpoint has of the average: as it is kept, and as it is measured."""
        kept = self._kept_average()
        measured = self.averaged_weights() if kept is not None and self.has_average() else None
        return {"kept": kept, "measured": measured, "updates": self.averaged}

    def _load_average(self, saved: Mapping[str, Any]) -> None:
        self.averaged, self.measured = int(saved.get("updates", 0)), -1
        kept = self._kept_average()
        if kept is None or self._point() is not None:
            return
        weights: Mapping[str, Tensor] | None = saved.get("kept")
        if weights is None or set(weights) != set(kept):
            raise CheckpointError("the checkpoint has no average of these weights: it is that of another recipe.")
        for name, value in kept.items():
            value.copy_(weights[name])


def generators(device: torch.device) -> list[torch.Generator]:
    """The generators that a model on a device may draw from: the device's own, and the CPU's (layer drop does)."""
    cpu = torch.default_generator
    if device.type == "cuda":
        torch.cuda.init()
        return [cpu, torch.cuda.default_generators[device.index or 0]]
    if device.type == "mps":
        return [cpu, torch.mps._get_default_mps_generator()]  # pyright: ignore[reportPrivateUsage]
    return [cpu]
