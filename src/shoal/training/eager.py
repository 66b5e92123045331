"""The eager step: the model as Python runs it, `backward`, a torch.optim optimizer.

It is the reference for every other execution, and serves whatever they cannot: optimizers without a rule, models that
cannot be recorded. A step never waits for the device where the optimizer takes `found_inf` (torch's fused classes and
those made from a rule); others are guarded by reading one number on the host before each update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoal import rng
from shoal.datasets import Batch
from shoal.optim import (
    ascent,
    climbing,
    group_state,
    load_group_state,
    load_named_state,
    named_state,
    needs_closure,
    step_of,
    writers,
)
from shoal.training.guard import Guard, Policy, unless
from shoal.training.loss_scale import LossScale
from shoal.training.meter import Measured, Meter
from shoal.training.objective import Objective, Part
from shoal.training.treatment import Treatment

SCHEDULED = ("lr", "momentum", "weight_decay")
"""The hypers that an optimizer reads; the others belong to the objective and to averages."""


class EagerStep:
    """Performs updates of a model in place. `names` are the hypers, in the order in which their values come.

    A model that comes in eval mode as a whole (as pretrained ones do) is put into training mode; parts that are in eval
    mode within a model in training mode (a frozen norm) stay so.
    """

    execution = "eager"

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        names: Sequence[str],
        treatment: Treatment,
        meter: Meter,
        guard: Guard | None = None,
    ) -> None:
        self.model, self.objective, self.optimizer, self.meter = model, objective, optimizer, meter
        self.guard = guard or Guard(Policy(), meter.device)
        if not model.training:  # as a whole, that is: parts in eval mode within one in training are meant so
            model.train()
        self.treatment, self.names = treatment, tuple(names)
        own = [name for name in names if name in SCHEDULED]
        assert list(names[: len(own)]) == own, "an optimizer's hypers come first"
        self.writers = writers(optimizer, own)
        self.needs_values = objective.augment is not None or objective.mixing is not None
        self.clipping = treatment.clip.state(meter.device) if treatment.clip is not None else {}
        self.scale = LossScale(meter.device) if treatment.scaled else None
        self.trained: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
        self.with_closure, self.update = needs_closure(optimizer), step_of(optimizer)
        self.skips_on_device = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self.found = torch.zeros_like(self.guard.found) if self.scale is not None else self.guard.found
        if self.skips_on_device:
            optimizer.found_inf = self.found  # pyright: ignore[reportAttributeAccessIssue]
        self.shares = torch.empty(0)
        self.checked = False

    def upload(self, rows: list[list[float]]) -> Sequence[Sequence[float]]:
        """Take hypers as they are: torch's classes read them on the host."""
        return rows

    def __call__(self, batch: Batch, hyper: Sequence[float]) -> None:
        """Perform one update."""
        for write, value in zip(self.writers, hyper, strict=False):
            write(value)
        values = dict(zip(self.names, hyper, strict=True)) if self.needs_values else {}
        parts = self.objective.parts(batch.inputs, batch.targets, batch.index, values, count=self.treatment.parts)
        if self.with_closure:
            self._step_with_closure(parts, values)
            return
        before = self._buffers()
        self.guard.begin()
        measured = self._backward(parts, values)
        overflow = self._unscaled()
        if self.treatment.sam:
            overflow = _either(overflow, self._ascend(parts, values))
        self._conclude(measured, before)
        if overflow is not None:
            torch.maximum(overflow, self.guard.found, out=self.found)
        if self.treatment.clip is not None:
            self._clip(batch.size)
        if self.skips_on_device or not self.found.item():
            self.update()
        if self.scale is not None:
            self.scale.update(self.found)
        for parameter in self.trained:  # zero_grad() costs 10 microseconds, most of them for the profiler
            parameter.grad = None

    def optimizer_state(self) -> dict[str, Any]:
        """Return the optimizer's state by parameter name, and what it keeps in its groups."""
        return {"optimizer": named_state(self.optimizer, self.model), "groups": group_state(self.optimizer)}

    def load_optimizer_state(self, state: Mapping[str, Any], *, steps: int) -> None:
        """Put back what `optimizer_state` returned, of whichever execution."""
        del steps
        fresh = {} if self.checked else named_state(self.optimizer, self.model)  # a recording saves none before a step
        load_named_state(self.optimizer, self.model, {**fresh, **state["optimizer"]})
        if state["groups"] is not None:
            load_group_state(self.optimizer, state["groups"])

    def _backward(self, parts: Sequence[Part], values: Mapping[str, float], *, first: bool = True) -> list[Measured]:
        """Add the gradient of a batch's mean loss to that of the parameters; return what the first pass measures."""
        measured: list[Measured] = []
        for part in parts:
            outputs, losses = self.objective.outputs_and_losses(self.model, part, values, check=not self.checked)
            self.checked = True
            share = self._share(losses, len(parts))
            backward(losses, share if self.scale is None else self._scaled(losses, share))
            if first:
                size = len(part.inputs)
                measured.append(self.meter.measure(losses.detach(), outputs.detach(), part.targets, size))
        self.guard.look([part.loss for part in measured], self._gradients() if self.scale is None else ())
        return measured

    def _conclude(self, measured: Sequence[Measured], before: Mapping[str, Tensor]) -> None:
        """Let the guard decide about the step, count it, and take back what a bad one did to buffers."""
        self.guard.conclude(measured)
        for part in measured:
            self.meter.add(part, skipped=self.guard.found if self.guard.policy.skips else None)
        if before:
            unless(self.guard.found, before, dict(self.model.named_buffers()))

    def _buffers(self) -> dict[str, Tensor]:
        """The buffers as they are, where a step that changes them may turn out to be skipped."""
        if not self.guard.policy.skips:
            return {}
        return {name: value.clone() for name, value in self.model.named_buffers()}

    def _share(self, losses: Tensor, parts: int) -> Tensor | None:
        """The gradient of the mean loss: 1/B for each example. Starting from it saves the mean and its backward."""
        if losses.ndim == 0 and parts == 1:
            return None
        if self.shares.shape != losses.shape or self.shares.dtype != losses.dtype:
            each = 1.0 / (parts * max(losses.numel(), 1))
            self.shares = torch.full_like(losses, each, requires_grad=False)
        return self.shares

    def _scaled(self, losses: Tensor, share: Tensor | None) -> Tensor:
        assert self.scale is not None
        scale = self.scale.scale.to(losses.dtype)
        return scale * (share if share is not None else torch.ones_like(losses, requires_grad=False))

    def _unscaled(self) -> Tensor | None:
        """Divide the loss scale out of the gradient; return 1.0 where it overflowed, or None without a scale."""
        return None if self.scale is None else self.scale.unscale(self._gradients())

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.trained if p.grad is not None]

    def _clip(self, size: int) -> None:
        clip = self.treatment.clip
        assert clip is not None
        had = [p for p in self.trained if p.grad is not None]
        clipped, norm, was = clip.apply([p.grad for p in had if p.grad is not None], self.clipping)
        for parameter, gradient in zip(had, clipped, strict=True):
            parameter.grad = gradient
        self.meter.note({"grad_norm": norm, "clipped": was}, size, skipped=self.found)

    def _ascend(self, parts: Sequence[Part], values: Mapping[str, float]) -> Tensor | None:
        """Replace the gradient by that at the place where the loss nearby is largest (SAM)."""
        had = [p for p in self.trained if p.grad is not None]
        uphill = ascent([p.grad for p in had if p.grad is not None], self.treatment.sam)
        with climbing(had, uphill, keeping=list(self.model.buffers())):
            for parameter in self.trained:
                parameter.grad = None
            self._backward(parts, values, first=False)
        return self._unscaled()

    def _step_with_closure(self, parts: Sequence[Part], values: Mapping[str, float]) -> None:
        """L-BFGS evaluates the loss several times a step; the meter sees the first, which is that of the weights.

        All evaluate one function: what the first drew is drawn again, from the buffers that it began with. They stay as
        the first leaves them, so that statistics of batch norms move once a step.
        """
        buffers, measured = list(self.model.buffers()), list[Measured]()
        rewind, began = rng.snapshot(), [buffer.detach().clone() for buffer in buffers]
        left, held = began, self._buffers()
        self.guard.begin()

        def closure() -> Tensor:
            nonlocal left
            first = not measured
            if not first:
                rewind()
                _put_back(buffers, began)
            for parameter in self.trained:
                parameter.grad = None
            total = torch.zeros((), dtype=torch.float64, device=self.meter.device)
            with torch.enable_grad():
                for part in parts:
                    outputs, losses = self.objective.outputs_and_losses(
                        self.model, part, values, check=not self.checked
                    )
                    self.checked = True
                    share = self._share(losses, len(parts))
                    backward(losses, share)
                    seen = losses.detach()
                    total += (seen * share).sum() if share is not None else seen
                    if first:
                        measured.append(self.meter.measure(seen, outputs.detach(), part.targets, len(part.inputs)))
            if first:
                self.guard.look([part.loss for part in measured], self._gradients())
                left = [buffer.detach().clone() for buffer in buffers]
            else:
                _put_back(buffers, left)
            return total

        before = [p.detach().clone() for p in self.trained]
        step: Callable[..., Any] = self.optimizer.step
        step(closure)
        self._conclude(measured, held)
        if self.guard.found.item():
            with torch.no_grad():
                for parameter, value in zip(self.trained, before, strict=True):
                    parameter.copy_(value)
        for parameter in self.trained:
            parameter.grad = None


def backward(losses: Tensor, share: Tensor | None) -> None:
    """Do what `losses.backward(share)` does, where `share` has the shape of the losses.

    To compare the shapes torch imports sympy, which takes a second, and 5 microseconds a step from then on.
    """
    if share is None or type(losses) is not Tensor:
        losses.backward(share)  # pyright: ignore[reportUnknownMemberType]
        return
    engine: Any = torch.autograd.graph
    engine._engine_run_backward((losses,), (share,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def _either(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return first if second is None or first is None else torch.maximum(first, second)


@torch.no_grad()
def _put_back(buffers: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
