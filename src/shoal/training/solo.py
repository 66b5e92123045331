"""The solo engine: one run, one model, a torch.optim optimizer, executed eagerly.

A step never waits for the device where the optimizer takes `found_inf` (torch's fused classes): a non-finite loss
makes this update and all after it a no-op on the device, and `bad_steps` tells. Other optimizers are guarded by
reading that number on the host before each update.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call  # pyright: ignore[reportUnknownVariableType]

from shoal import rng
from shoal.datasets import Batch, Batches
from shoal.errors import CheckpointError, TrainingError
from shoal.optim import group_state, load_group_state, load_named_state, named_state, writers
from shoal.tasks import Task, check_loss
from shoal.training.evaluation import Observer, evaluate
from shoal.training.meter import Meter
from shoal.training.plan import Plan
from shoal.training.seams import Weights


class SoloEngine:
    """Performs the steps of one run.

    `names` are the scheduled hyperparameters, in the order in which `step` receives their values. A model that comes
    in eval mode as a whole (as pretrained ones do) is put into training mode; parts that are in eval mode within a
    model in training mode (a frozen norm) stay so.

    Each step seeds torch's generators from (seed, step); those of Python and NumPy are seeded at step 0, and where
    they stand is a part of the state.
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
        self.seeds, self.seed = rng.StepSeeds(seed), seed
        self.generators = _generators(self.device)
        self.best: dict[str, Tensor] | None = None
        self.steps = 0
        self.checked = False
        self.evaluation_seconds = 0.0
        self.shares = torch.empty(0)
        self.trained: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
        self.skips_on_device = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        if self.skips_on_device:
            optimizer.found_inf = self.meter.bad  # pyright: ignore[reportAttributeAccessIssue]
        if not model.training:
            model.train()

    def upload(self, block: np.ndarray) -> list[list[float]]:
        """Take hypers [steps, 1, H] as plain floats: torch's classes read them on the host."""
        return block[:, 0, :].tolist()

    def step(self, batch: Batch, hyper: Sequence[float]) -> None:
        """Perform one update."""
        if self.steps == 0:
            rng.seed_all(rng.key(self.seed, "global"))
        seed = self.seeds.at(self.steps)
        for generator in self.generators:
            generator.manual_seed(seed)
        for write, value in zip(self.writers, hyper, strict=True):
            write(value)
        outputs = self.model(batch.inputs)
        losses = self.task.loss(outputs, batch.targets) if self.checked else self._first_losses(outputs, batch)
        losses.backward(self._shares(losses))
        self.meter.add(losses.detach(), outputs.detach(), batch.targets, batch.size)
        self.steps += 1
        if self.skips_on_device or not self.meter.bad.item():
            self.optimizer.step()
        for parameter in self.trained:  # zero_grad() costs 10 microseconds, most of them for the profiler
            parameter.grad = None

    def evaluate(
        self, batches: Batches, *, weights: Weights = "raw", observer: Observer | None = None
    ) -> list[dict[str, float]]:
        """Return every metric over one pass, with the present weights or the best ones."""
        chosen = self.best if weights == "best" else None

        def forward(inputs: Any) -> Tensor:
            return self.model(inputs) if chosen is None else functional_call(self.model, chosen, (inputs,))

        began = time.perf_counter()
        with evaluating(self.model):
            found = evaluate(forward, self.task, batches, seed=self.seed, observer=observer)
        self.evaluation_seconds += time.perf_counter() - began
        return [found]

    def bad_steps(self) -> list[int | None]:
        """Return the first step whose loss was not finite, counted from 1, or None."""
        skipped = self.meter.bad_since()
        return [self.steps - skipped + 1 if skipped else None]

    def finite(self) -> list[bool]:
        """Return whether all weights are finite."""
        largest = torch.nn.utils.get_total_norm([p.detach() for p in self.trained], norm_type=float("inf"))
        return [bool(largest.isfinite().item())]

    def drain(self) -> list[dict[str, float]]:
        """Return and reset what the steps added up to."""
        return [self.meter.drain()]

    def keep(self, run: int = 0) -> None:
        """Remember the present weights as the best."""
        assert run == 0
        present = {name: value.detach() for name, value in weights_of(self.model).items()}
        if self.best is None:
            self.best = {name: value.clone() for name, value in present.items()}
            return
        for name, value in present.items():
            self.best[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the run's state by name: live tensors, to be saved before the next step."""
        return {
            "parameters": dict(self.model.named_parameters()),
            "buffers": dict(persistent_buffers(self.model)),
            "optimizer": named_state(self.optimizer, self.model),
            "groups": group_state(self.optimizer),
            "meter": self.meter.state_dict(),
            "best": self.best,
            "steps": self.steps,
            "random": rng.captured(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned; Python's and NumPy's generators too.

        Raises CheckpointError where it is that of another model or optimizer.
        """
        load_weights(self.model, {**state["parameters"], **state["buffers"]})
        load_named_state(self.optimizer, self.model, state["optimizer"])
        load_group_state(self.optimizer, state["groups"])
        self.meter.load_state_dict(state["meter"])
        best = state["best"]
        self.best = None if best is None else {name: value.to(self.device).clone() for name, value in best.items()}
        self.steps = int(state["steps"])
        rng.restore(state["random"])

    def _shares(self, losses: Tensor) -> Tensor | None:
        """The gradient of the mean loss: 1/B for each example. Starting from it saves the mean and its backward."""
        if losses.ndim == 0:
            return None
        if self.shares.shape != losses.shape:
            self.shares = torch.full_like(losses, 1.0 / len(losses), requires_grad=False)
        return self.shares

    def _first_losses(self, outputs: Any, batch: Batch) -> Tensor:
        """The losses of the first step, with what the user's model and loss return checked."""
        if not isinstance(outputs, Tensor):
            raise TrainingError(
                f"the model returned {type(outputs).__name__}: expected one tensor with the outputs of each example. "
                "Return that tensor from forward, and leave the rest out."
            )
        losses = check_loss(self.task.loss(outputs, batch.targets), batch.size)
        self.checked = True
        return losses


def persistent_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers that belong to a model's state: caches, registered with persistent=False, do not."""
    for name, value in model.named_buffers():
        path, _, last = name.rpartition(".")
        if last not in model.get_submodule(path)._non_persistent_buffers_set:  # pyright: ignore[reportPrivateUsage]
            yield name, value


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and persistent buffers by name; a shared one once, under its first name."""
    return {**dict(model.named_parameters()), **dict(persistent_buffers(model))}


def load_weights(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy parameters and buffers by name; raises CheckpointError, and changes none, where names or shapes differ."""
    own = weights_of(model)
    missing, extra = sorted(set(own) - set(saved)), sorted(set(saved) - set(own))
    if missing or extra:
        raise CheckpointError(
            "the saved weights are those of another model: "
            f"missing {', '.join(missing) or 'nothing'}, left over {', '.join(extra) or 'nothing'}."
        )
    for name, value in own.items():
        if value.shape != saved[name].shape:
            raise CheckpointError(
                f"{name} is {tuple(value.shape)} in the model and {tuple(saved[name].shape)} as saved."
            )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Put a model into eval mode and back; what was in eval mode before (a frozen norm, say) stays there."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _generators(device: torch.device) -> list[torch.Generator]:
    """The generators that a model on a device may draw from: the device's own, and the CPU's (layer drop does)."""
    cpu = torch.default_generator
    if device.type == "cuda":
        torch.cuda.init()
        return [cpu, torch.cuda.default_generators[device.index or 0]]
    if device.type == "mps":
        return [cpu, torch.mps._get_default_mps_generator()]  # pyright: ignore[reportPrivateUsage]
    return [cpu]
