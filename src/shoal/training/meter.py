"""Sums of a run's training statistics on the device, and the guard that they make free.

If any loss is not finite, neither is the sum of losses from then on: `sum - sum` is 0 or NaN. So one number says
whether to skip this update and all after it, without asking the host. Sums are float64 where the device has it.

The guard is three operations on single numbers a step; the sums themselves are what any loop with metrics has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from shoal.tasks import Metric


class Meter:
    """Running sums of the loss and of the metrics that are measured in training.

    `bad` is what torch's fused optimizers take as `found_inf`: 1.0 from the first loss on that was not finite, else
    0.0. It stays the same tensor.
    """

    def __init__(self, metrics: Mapping[str, Metric], device: torch.device) -> None:
        self.metrics = {name: metric for name, metric in metrics.items() if metric.in_training}
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.device = device
        self.loss = torch.zeros((), dtype=self.dtype, device=device)
        self.sums: dict[str, dict[str, Tensor]] = {name: {} for name in self.metrics}
        self.notes: dict[str, Tensor] = {}
        self.noted = self._zero()
        self.count = 0
        self.bad = torch.zeros((), dtype=torch.float32, device=device)
        self.bad_steps = torch.zeros((), dtype=torch.float32, device=device)

    def add(self, losses: Tensor, outputs: Tensor, targets: Tensor, size: int, *, last: bool = True) -> None:
        """Add one batch: its losses ([B], or their mean as a scalar) and statistics; judge whether all were finite.

        With `last` a step ends: where the batch of a step comes in parts, it is that of the last of them.
        """
        if losses.ndim:
            self.loss.add_(losses.sum(dtype=self.dtype))
        else:
            self.loss.add_(losses, alpha=size)
        for name, metric in self.metrics.items():
            sums = self.sums[name]
            for key, values in metric.statistics(outputs, targets).items():
                if key not in sums:
                    sums[key] = self._zero()
                sums[key].add_(values.sum(dtype=self.dtype))
        self.count += size
        torch.sub(self.loss, self.loss, out=self.bad).ne_(0)
        if last:
            self.bad_steps.add_(self.bad)

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
        own = {"loss": self.loss, "bad": self.bad, "bad_steps": self.bad_steps}
        return {**own, **sums, **notes, **({"noted": self.noted} if notes else {})}

    def over(self, tensors: Mapping[str, Tensor]) -> Meter:
        """Return a meter of the same metrics that writes to other tensors."""
        other = Meter({}, self.device)
        other.metrics = self.metrics
        other.loss, other.bad, other.bad_steps = tensors["loss"], tensors["bad"], tensors["bad_steps"]
        other.sums = {name: {key: tensors[f"sums.{name}.{key}"] for key in own} for name, own in self.sums.items()}
        other.notes = {name: tensors[f"notes.{name}"] for name in self.notes}
        other.noted = tensors.get("noted", other.noted)
        return other

    def bad_since(self) -> int:
        """Return how many steps, up to the present one, were skipped: 0 while all losses were finite."""
        return int(self.bad_steps.item())

    def drain(self) -> dict[str, float]:
        """Return the means over examples since the last drain, and start again; nothing where there were none."""
        if self.count == 0:
            return {}
        totals = [self.loss, *self._sums(), *self.notes.values(), self.noted]
        values = iter(cast("list[float]", torch.stack(totals).tolist()))  # one wait for the device
        means = {"loss": next(values) / self.count}
        for name, metric in self.metrics.items():
            own = {key: next(values) / self.count for key in self.sums[name]}
            means[name] = metric.finish({"loss": means["loss"], **own})
        notes = {name: next(values) for name in self.notes}
        if noted := next(values):
            means |= {name: total / noted for name, total in notes.items()}
        self.reset()
        return means

    def reset(self) -> None:
        """Forget everything."""
        for total in (self.loss, self.bad, self.bad_steps, self.noted, *self._sums(), *self.notes.values()):
            total.zero_()
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the sums; only finite ones are ever saved."""
        return {"loss": self.loss, "sums": self.sums, "notes": self.notes, "noted": self.noted, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.reset()
        self.loss.copy_(state["loss"])
        self.count = int(state["count"])
        for name, own in self.sums.items():
            self._put(own, state["sums"].get(name, {}))
        self._put(self.notes, state.get("notes", {}))
        if "noted" in state:  # checkpoints of earlier versions have no notes
            self.noted.copy_(state["noted"])

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
