"""Whether an update must not be made, decided on the device before it would be: nothing here asks for a value.

A step is bad where a loss or a number of the gradient is not finite, and where the loss leaps, if that is looked at.
Under the policies `stop` and `rewind` neither it nor any step after it makes an update: the loop finds out later, and
the weights are still those from before. Under `skip` the update is left out, with what the step would have changed
elsewhere, and training goes on; more than `limit` such steps in a row stop it.

What is kept of the losses is of steps that were not bad: one NaN does not poison it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from shoal.training.meter import Measured
from shoal.training.seams import Bad, Skips

FEW_NUMBERS = 1 << 18
"""Numbers of a tensor up to which a kernel that writes them is as fast as their sum, on a CPU."""
NORMAL_STEPS = 20
"""Steps that the recent loss is made of at least, before any is called a leap."""
RECENT = 0.02
"""The share of the newest step in the recent mean and deviation of the loss."""

_torch: Any = torch  # the kernel is private in torch


@dataclass(frozen=True)
class Policy:
    """What is done about a bad step; a loss more than `spike` deviations above its recent mean is one too."""

    action: Literal["stop", "skip", "rewind"] = "stop"
    spike: float | None = None
    limit: int = 10

    @property
    def skips(self) -> bool:
        """Whether training goes on after a bad step."""
        return self.action == "skip"


class Guard:
    """Flags and counts of one run, as tensors that stay the same ones: a recorded step may hold them.

    `found` is what torch's fused optimizers take as `found_inf`: 1.0 where this step's update must not be made. In a
    step: `begin`, `look` at whatever must be finite, `conclude`, and then the update.
    """

    def __init__(self, policy: Policy, device: torch.device) -> None:
        self.policy, self.device = policy, device
        self.found = torch.zeros((), dtype=torch.float32, device=device)
        self.counts = {name: torch.zeros_like(self.found) for name in _counts(policy)}
        self.one = torch.ones_like(self.found)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that this writes to, by name; `over` makes a guard of them."""
        return {"found": self.found, **self.counts}

    def over(self, tensors: Mapping[str, Tensor]) -> Guard:
        """Return a guard of the same policy that writes to other tensors."""
        other = Guard.__new__(Guard)
        other.policy, other.device, other.one = self.policy, self.device, self.one
        other.found, other.counts = tensors["found"], {name: tensors[name] for name in self.counts}
        return other

    def begin(self) -> None:
        """Start a step: where bad ones are skipped, this one may be good again."""
        if self.policy.skips:
            self.found.copy_(self.counts["stopped"])

    def look(self, losses: Sequence[Tensor], grads: Sequence[Tensor], *, pure: bool = False) -> None:
        """Find whether a loss ([]) or a number of a gradient is not finite.

        torch's kernel for it is one call, but writes every number back as it was: on a CPU it looks at the sums of
        large gradients instead, which only reads them. A compiler merges sums with what else reads a tensor, so where
        the step is `pure` there is no kernel, and of all there are sums.
        """
        if not losses and not grads:
            return
        if pure:
            sums = [*losses, *(grad.sum(dtype=torch.float32) for grad in grads)]
            wide = torch.float32 if self.device.type == "mps" else torch.float64
            total = torch.stack([each.to(wide) for each in sums]).sum()
            self.found.copy_(torch.maximum(self.found, (total - total).ne(0).to(self.found.dtype)))
            return
        on_cpu = self.device.type == "cpu"
        groups: dict[torch.dtype | None, list[Tensor]] = {}
        for tensor in (*losses, *grads):
            small = not on_cpu or tensor.numel() <= FEW_NUMBERS
            looked_at = tensor if small else tensor.sum(dtype=torch.float32)
            groups.setdefault(None if on_cpu else tensor.dtype, []).append(looked_at)
        for group in groups.values():
            _torch._amp_foreach_non_finite_check_and_unscale_(group, self.found, self.one)

    def conclude(self, measured: Sequence[Measured]) -> None:
        """Decide about the step, whose batch was measured in parts."""
        counts, policy = self.counts, self.policy
        if policy.spike is None and not policy.skips:
            counts["since"].add_(self.found)
            return
        total = torch.stack([part.loss for part in measured]).sum()
        if policy.spike is not None:
            self._weigh((total / sum(part.size for part in measured)).to(torch.float32), policy.spike)
        if policy.skips:
            of_loss = (total - total).ne(0).to(self.found.dtype)
            counts["of_loss"].copy_(torch.where(counts["since"] > 0, counts["of_loss"], of_loss))
            counts["streak"].add_(1.0).mul_(self.found)
            counts["skipped"].add_(self.found)
            counts["ago"].add_(1.0).mul_(1.0 - self.found)
            counts["stopped"].copy_(torch.maximum(counts["stopped"], counts["streak"].gt(policy.limit)))
        counts["since"].add_(counts["stopped"] if policy.skips else self.found)

    def bad(self, steps: int, *, loss: Tensor) -> Bad | None:
        """Return the step for which training is to stop, `steps` being done, or None; waits for the device.

        loss: the sum of losses so far, which a loss that is not finite has made so.
        """
        since = int(self.counts["since"].item())
        if not since:
            return None
        of_loss = bool(self.counts["of_loss"].item()) if self.policy.skips else not bool(loss.isfinite().item())
        leapt = "leapt" in self.counts and bool(self.counts["leapt"].item())
        return Bad(steps - since + 1, "leap" if leapt else "loss" if of_loss else "gradient")

    def skips(self, steps: int) -> Skips | None:
        """Return how many updates were left out, `steps` being done, and the last of them; waits for the device.

        None where there were none, or another policy.
        """
        count = int(self.counts["skipped"].item()) if self.policy.skips else 0
        return Skips(count, steps - int(self.counts["ago"].item())) if count else None

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts: live tensors, to be saved before the next step; a run that is to stop saves none."""
        return dict(self.counts)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` returned; what another policy or an earlier version did not keep starts anew."""
        self.found.zero_()
        for name, tensor in self.counts.items():
            tensor.copy_(state[name]) if name in state else tensor.zero_()

    def _weigh(self, loss: Tensor, spike: float) -> None:
        """Call a loss that leaps bad, and let one that is not become part of what is normal."""
        mean, variance, seen = (self.counts[name] for name in ("mean", "variance", "seen"))
        away = loss - mean
        leaps = (seen >= NORMAL_STEPS) & (away > spike * variance.sqrt()) & (self.found == 0)
        self.found.copy_(torch.maximum(self.found, leaps))
        self.counts["leapt"].copy_(torch.maximum(self.counts["leapt"], leaps) * self.found)
        bad, share = self.found > 0, torch.clamp(1.0 / (seen + 1.0), min=RECENT)
        new = {
            "mean": mean + share * away,
            "variance": (1.0 - share) * (variance + share * away.square()),
            "seen": seen + 1.0,
        }
        for name, value in new.items():
            self.counts[name].copy_(torch.where(bad, self.counts[name], value))


def _counts(policy: Policy) -> Sequence[str]:
    names = ["since"]
    if policy.skips:
        names += ["streak", "skipped", "ago", "stopped", "of_loss"]
    if policy.spike is not None:
        names += ["mean", "variance", "seen", "leapt"]
    return names


def unless(bad: Tensor, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Put tensors back to what they were before a step that was bad, in place."""
    for name, value in after.items():
        value.copy_(torch.where(bad > 0, before[name], value))
