"""From a batch to the losses that are differentiated: augmentation, mixing, the model under autocast, the loss.

The same text serves eager steps and the functional step: a scheduled value is a Python float in the first and a 0-dim
tensor in the second, and nothing here looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from shoal.augment import Augment, mixed
from shoal.augment.mixing import Box, Number
from shoal.errors import TrainingError
from shoal.tasks import Task, check_loss
from shoal.training.precision import Precision, as_float32, autocasting

Forward = Callable[[Any], Any]
Values = Mapping[str, "Tensor | float"]

SHARE = "average"
"""The hyper that says by which share of the way the average moves to the weights after a step."""
AUGMENT = "augment"
"""The hyper that is the key of an epoch's augmentation."""
MIXING = ("mix.share", "mix.top", "mix.left", "mix.bottom", "mix.right")
"""The hypers of a step's mixing: the share of the own example, and the box of CutMix."""


class Part(NamedTuple):
    """A part of a batch: inputs [B, ...], targets [B, ...] and, where examples are mixed, their partners' targets."""

    inputs: Tensor
    targets: Tensor
    partners: Tensor | None


@dataclass(frozen=True)
class Mixing:
    """The alphas of mixup and CutMix; 0 is off."""

    mixup: float
    cutmix: float

    def __call__(self, inputs: Tensor, share: Number, box: Box) -> Tensor:
        """Return inputs mixed with those of the reversed batch."""
        return mixed(inputs, share, box, mixup=self.mixup > 0, cutmix=self.cutmix > 0)


@dataclass(frozen=True)
class Objective:
    """What a recipe minimises. `loss` is the training loss [B] or [], which may be smoothed; `task` has the metrics."""

    task: Task
    loss: Callable[[Tensor, Tensor], Tensor]
    device: torch.device
    precision: Precision = "fp32"
    augment: Augment | None = None
    mixing: Mixing | None = None

    def parts(self, inputs: Tensor, targets: Tensor, index: Tensor, values: Values, *, count: int) -> list[Part]:
        """Return a batch, its inputs augmented and mixed, in `count` equal parts."""
        if self.augment is not None:
            inputs = self.augment(inputs, index, _key(values[AUGMENT]))
        partners = None
        if self.mixing is not None:
            share, top, left, bottom, right = (values[name] for name in MIXING)
            inputs, partners = self.mixing(inputs, share, (top, left, bottom, right)), targets.flip(0)
        if count == 1:
            return [Part(inputs, targets, partners)]
        others = [None] * count if partners is None else partners.chunk(count)
        return [Part(*part) for part in zip(inputs.chunk(count), targets.chunk(count), others, strict=True)]

    def outputs_and_losses(self, forward: Forward, part: Part, values: Values, *, check: bool) -> tuple[Tensor, Tensor]:
        """Return the model's outputs for a part of a batch, in float32, and the losses to be differentiated.

        With `check`, TrainingError is raised where a model returns no tensor, or a loss a shape that means nothing.
        """
        with autocasting(self.precision, self.device):
            outputs = forward(part.inputs)
        if check and not isinstance(outputs, Tensor):
            raise TrainingError(
                f"the model returned {type(outputs).__name__}: expected one tensor with the outputs of each example. "
                "Return that tensor from forward, and leave the rest out."
            )
        outputs = as_float32(outputs)
        losses = self.loss(outputs, part.targets)
        if check:
            check_loss(losses, len(part.inputs))
        if part.partners is not None:
            share = values[MIXING[0]]
            losses = share * losses + (1 - share) * self.loss(outputs, part.partners)
        return outputs, losses


def _key(value: Tensor | float) -> Tensor | int:
    """The key of an epoch's augmentation: a whole number below 2**53, which a float64 holds exactly."""
    return value if isinstance(value, Tensor) else int(value)
