"""The loss scale of fp16 training: gradients too small for 16 bits are lifted before backward and put back after it.

Micikevicius et al. 2017, arXiv 1710.03740, section 3.2; dynamic as `torch.amp.GradScaler`, with its numbers and its
kernels. Unlike it, nothing here reads a value on the host: an overflow is a flag on the device, which torch's fused
optimizers take as `found_inf` to skip the update.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from shoal.errors import CheckpointError

INITIAL = 2.0**16
GROWTH = 2.0
BACKOFF = 0.5
INTERVAL = 2000
"""Updates without an overflow after which the scale grows."""

STATE = ("scale", "growth_tracker", "skipped")

_torch: Any = torch  # the two kernels are private in torch


class LossScale:
    """A loss scale that halves at an overflow and doubles after `interval` updates without one.

    A step: start backward from `scale` in place of 1, then `unscale` the gradients, make the update unless what that
    returns is 1.0, and `update` with it. `skipped` counts the updates that were not made. All are tensors on the device
    and stay the same ones, so a recorded step may hold them.
    """

    def __init__(self, device: torch.device, *, initial: float = INITIAL, interval: int = INTERVAL) -> None:
        self.scale = torch.full((), initial, dtype=torch.float32, device=device)
        self.growth_tracker = torch.zeros((), dtype=torch.int32, device=device)
        self.skipped = torch.zeros((), dtype=torch.int32, device=device)
        self.interval = interval

    @classmethod
    def over(cls, state: Mapping[str, Tensor], *, interval: int = INTERVAL) -> LossScale:
        """Return a scale whose tensors are those given, as `state_dict` names them: for a functional step."""
        scale = cls.__new__(cls)
        scale.scale, scale.growth_tracker, scale.skipped = (state[name] for name in STATE)
        scale.interval = interval
        return scale

    @torch.no_grad()
    def unscale(self, grads: list[Tensor]) -> Tensor:
        """Divide gradients by the scale, in place; return 1.0 where one of them is not finite, else 0.0 ([])."""
        found_inf = torch.zeros((), dtype=torch.float32, device=self.scale.device)
        _torch._amp_foreach_non_finite_check_and_unscale_(grads, found_inf, self.scale.reciprocal())
        return found_inf

    @torch.no_grad()
    def update(self, found_inf: Tensor) -> None:
        """Set the scale for the next step, and count this one where it was skipped."""
        _torch._amp_update_scale_(self.scale, self.growth_tracker, found_inf, GROWTH, BACKOFF, self.interval)
        self.skipped.add_(found_inf > 0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the scale and both counts: live tensors, to be saved before the next step."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy in what `state_dict` returned; raises CheckpointError where that is something else."""
        if set(state) != set(STATE):
            raise CheckpointError(
                f"the saved loss scale has {', '.join(sorted(state)) or 'nothing'}: expected {', '.join(STATE)}. The "
                "run was saved under another precision than fp16, or by another version."
            )
        for name, value in self.state_dict().items():
            value.copy_(state[name])
