"""Sums of a run's training statistics on the device, in float64 where the device has it.

A step's statistics are measured while its outputs are there, and added once the guard has decided about the step: one
that is skipped does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from shoal.tasks import Metric


class Measured(NamedTuple):
    """What a batch of `size` examples adds: its loss, and each metric's statistics by metric and statistic."""

    loss: Tensor
    sums: Mapping[str, Mapping[str, Tensor]]
    size: int


class Meter:
    """Running sums of the loss and of the metrics that are measured in training."""

    def __init__(self, metrics: Mapping[str, Metric], device: torch.device) -> None:
        self.metrics = {name: metric for name, metric in metrics.items() if metric.in_training}
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.device = device
        self.loss = self._zero()
        self.sums: dict[str, dict[str, Tensor]] = {name: {} for name in self.metrics}
        self.notes: dict[str, Tensor] = {}
        self.noted, self.left_out = self._zero(), self._zero()
        self.count = 0

    def loss_of(self, losses: Tensor, size: int) -> Tensor:
        """Return the sum of the losses of some examples, given as [B] or as their mean ([])."""
        return losses.sum(dtype=self.dtype) if losses.ndim else losses.to(self.dtype) * size

    def measure(self, losses: Tensor, outputs: Tensor, targets: Tensor, size: int) -> Measured:
        """Return the sums of one batch, or of a part of one."""
        loss = self.loss_of(losses, size)
        found = {
            name: {key: values.sum(dtype=self.dtype) for key, values in metric.statistics(outputs, targets).items()}
            for name, metric in self.metrics.items()
        }
        return Measured(loss, found, size)

    def add(self, measured: Measured, *, skipped: Tensor | None = None) -> None:
        """Add the sums of a batch; where `skipped` ([]) is not 0 the batch does not count."""
        self.count += measured.size
        if skipped is not None:
            self.left_out.add_(skipped, alpha=measured.size)
        self.loss.add_(_unless(skipped, measured.loss))
        for name, found in measured.sums.items():
            sums = self.sums[name]
            for key, total in found.items():
                if key not in sums:
                    sums[key] = self._zero()
                sums[key].add_(_unless(skipped, total))

    def note(self, values: Mapping[str, Tensor], size: int, *, skipped: Tensor) -> None:
        """Add what a step of `size` examples says beside its metrics (the norm of its gradient), to be averaged.

        Where `skipped` ([]) is not 0 the step is not made, and nothing is added: fp16 skips where a norm is infinite.
        """
        made = skipped == 0
        self.noted.add_(made, alpha=size)
        for name, value in values.items():
            if name not in self.notes:
                self.notes[name] = self._zero()
            self.notes[name].add_(torch.where(made, value, 0.0), alpha=size)

    def prepare(self, other: Meter) -> None:
        """Make the sums that another meter has, at zero where they are not there: a recorded step writes to them."""
        for name, own in other.sums.items():
            for key in own:
                self.sums[name].setdefault(key, self._zero())
        for name in other.notes:
            self.notes.setdefault(name, self._zero())

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that this writes to, by name; `over` makes a meter of them."""
        sums = {f"sums.{name}.{key}": total for name, own in self.sums.items() for key, total in own.items()}
        notes = {f"notes.{name}": total for name, total in self.notes.items()}
        own = {"loss": self.loss, "left_out": self.left_out}
        return {**own, **sums, **notes, **({"noted": self.noted} if notes else {})}

    def over(self, tensors: Mapping[str, Tensor]) -> Meter:
        """Return a meter of the same metrics that writes to other tensors."""
        other = Meter({}, self.device)
        other.metrics = self.metrics
        other.loss, other.left_out = tensors["loss"], tensors["left_out"]
        other.sums = {name: {key: tensors[f"sums.{name}.{key}"] for key in own} for name, own in self.sums.items()}
        other.notes = {name: tensors[f"notes.{name}"] for name in self.notes}
        other.noted = tensors.get("noted", other.noted)
        return other

    def drain(self) -> dict[str, float]:
        """Return the means over examples since the last drain, and start again; nothing where there were none.

        Where updates were skipped, `skipped` is the share of the examples that this left out.
        """
        if self.count == 0:
            return {}
        totals = [self.left_out, self.loss, *self._sums(), *self.notes.values(), self.noted]
        values = iter(cast("list[float]", torch.stack(totals).tolist()))  # one wait for the device
        means: dict[str, float] = {}
        left_out = next(values)
        if left_out:
            means["skipped"] = left_out / self.count
        if count := self.count - left_out:
            means["loss"] = next(values) / count
            for name, metric in self.metrics.items():
                own = {key: next(values) / count for key in self.sums[name]}
                means[name] = metric.finish({"loss": means["loss"], **own})
            notes = {name: next(values) for name in self.notes}
            if noted := next(values):
                means |= {name: total / noted for name, total in notes.items()}
        self.reset()
        return means

    def reset(self) -> None:
        """Forget everything."""
        for total in (self.loss, self.left_out, self.noted, *self._sums(), *self.notes.values()):
            total.zero_()
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the sums; only finite ones are ever saved."""
        own = {"loss": self.loss, "left_out": self.left_out, "noted": self.noted}
        return {**own, "sums": self.sums, "notes": self.notes, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.reset()
        self.loss.copy_(state["loss"])
        self.count = int(state["count"])
        for name, own in self.sums.items():
            self._put(own, state["sums"].get(name, {}))
        self._put(self.notes, state.get("notes", {}))
        for name in ("noted", "left_out"):  # checkpoints of earlier versions have neither
            if name in state:
                getattr(self, name).copy_(state[name])

    def _put(self, own: dict[str, Tensor], saved: Mapping[str, Tensor]) -> None:
        """Copy into the tensors that are there: a recorded step writes to those."""
        for key, total in saved.items():
            if key not in own:
                own[key] = self._zero()
            own[key].copy_(total)

    def _sums(self) -> list[Tensor]:
        return [total for sums in self.sums.values() for total in sums.values()]

    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=self.dtype, device=self.device)


def _unless(skipped: Tensor | None, value: Tensor) -> Tensor:
    return value if skipped is None else torch.where(skipped > 0, 0.0, value)
