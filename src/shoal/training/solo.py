"""The solo engine: one run, one model, a torch.optim optimizer, executed eagerly.

A step never waits for the device where the optimizer takes `found_inf` (torch's fused classes): a non-finite loss
makes this update and all after it a no-op on the device, and `drain` tells. Other optimizers are guarded by reading
the loss on the host before each update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call  # pyright: ignore[reportUnknownVariableType]

from shoal.datasets import Batch, Batches
from shoal.errors import CheckpointError
from shoal.optim import load_named_state, named_state, writers
from shoal.rng import StepSeeds, key
from shoal.tasks import Task, check_loss
from shoal.training.evaluation import evaluate
from shoal.training.meter import Meter
from shoal.training.plan import Plan
from shoal.training.seams import Weights


class SoloEngine:
    """Performs the steps of one run.

    `names` are the scheduled hyperparameters, in the order in which `step` receives their values.
    """

    runs = 1

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        optimizer: torch.optim.Optimizer,
        *,
        names: Sequence[str],
        seed: int,
        plan: Plan,
    ) -> None:
        self.model, self.task, self.optimizer, self.plan = model, task, optimizer, plan
        self.device = torch.device(plan.device)
        self.writers = writers(optimizer, names)
        self.meter = Meter(task.metrics, self.device)
        self.seeds, self.seed = StepSeeds(seed), seed
        self.generator = _generator(self.device)
        self.best: dict[str, Tensor] | None = None
        self.steps = 0
        self.skips_on_device = bool(optimizer.defaults.get("fused"))
        if self.skips_on_device:
            optimizer.found_inf = self.meter.bad  # pyright: ignore[reportAttributeAccessIssue]
        self.checked = False
        self.shares = torch.empty(0)
        self.trainable = [p for group in optimizer.param_groups for p in group["params"]]

    def upload(self, block: np.ndarray) -> list[list[float]]:
        """Take hypers [steps, 1, H] as plain floats: torch's classes read them on the host."""
        return block[:, 0, :].tolist()

    def step(self, batch: Batch, hyper: Sequence[float]) -> None:
        """Perform one update."""
        self.generator.manual_seed(self.seeds.at(self.steps))
        for write, value in zip(self.writers, hyper, strict=True):
            write(value)
        outputs = self.model(batch.inputs)
        losses = self.task.loss(outputs, batch.targets)
        if not self.checked:
            check_loss(losses, batch.size)
            self.checked = True
        losses.backward(self._shares(losses))
        self.meter.add(losses.detach(), outputs.detach(), batch.targets, batch.size)
        self.steps += 1
        if self.skips_on_device or not self.meter.bad_since():
            self.optimizer.step()
        for parameter in self.trainable:  # zero_grad() costs 10 microseconds, most of them for the profiler
            parameter.grad = None

    def _shares(self, losses: Tensor) -> Tensor | None:
        """The gradient of the mean loss: 1/B for each example. Starting from it saves the mean and its backward."""
        if losses.ndim == 0:
            return None
        if self.shares.shape != losses.shape:
            self.shares = torch.full_like(losses, 1.0 / len(losses), requires_grad=False)
        return self.shares

    def evaluate(self, batches: Batches, *, weights: Weights = "raw") -> list[dict[str, float]]:
        """Return every metric over one pass, with the present weights or the best ones."""
        chosen = self.best if weights == "best" and self.best is not None else None
        self.generator.manual_seed(key(self.seed, "evaluate") & 0x7FFFFFFF)
        with evaluating(self.model):
            if chosen is None:
                return [evaluate(self.model, self.task, batches)]
            return [evaluate(lambda inputs: functional_call(self.model, chosen, (inputs,)), self.task, batches)]

    def bad_steps(self) -> list[int | None]:
        """Return the first step whose loss was not finite, counted from 1, or None."""
        skipped = self.meter.bad_since()
        return [self.steps - skipped + 1 if skipped else None]

    def drain(self) -> list[dict[str, float]]:
        """Return and reset what the steps added up to."""
        return [self.meter.drain()]

    def keep(self, run: int = 0) -> None:
        """Remember the present weights as the best."""
        assert run == 0
        if self.best is None:
            self.best = {name: value.detach().clone() for name, value in self._tensors()}
            return
        for name, value in self._tensors():
            self.best[name].copy_(value.detach())

    def state_dict(self) -> dict[str, Any]:
        """Return the run's state by name."""
        return {
            "parameters": dict(self.model.named_parameters()),
            "buffers": dict(self.model.named_buffers()),
            "optimizer": named_state(self.optimizer, self.model),
            "meter": self.meter.state_dict(),
            "best": self.best,
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        load_weights(self.model, {**state["parameters"], **state["buffers"]})
        load_named_state(self.optimizer, self.model, state["optimizer"])
        self.meter.load_state_dict(state["meter"])
        best = state["best"]
        self.best = None if best is None else {name: value.to(self.device).clone() for name, value in best.items()}
        self.steps = int(state["steps"])

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.model.named_parameters()
        yield from self.model.named_buffers()


def load_weights(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy parameters and buffers by name; raises CheckpointError where names or shapes differ."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    missing, extra = sorted(set(own) - set(saved)), sorted(set(saved) - set(own))
    if missing or extra:
        raise CheckpointError(
            f"the saved weights are those of another model: missing {missing or 'nothing'}, left over {extra or 'nothing'}."
        )
    with torch.no_grad():
        for name, value in own.items():
            if value.shape != saved[name].shape:
                raise CheckpointError(f"{name} is {tuple(value.shape)} in the model and {tuple(saved[name].shape)} as saved.")
            value.copy_(saved[name])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode and back; what was in eval mode before (a frozen norm, say) stays there."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _generator(device: torch.device) -> torch.Generator:
    """The generator that dropout and its like draw from on a device."""
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[device.index or 0]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()  # pyright: ignore[reportPrivateUsage]
    return torch.default_generator
