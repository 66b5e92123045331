"""What is done with a gradient between backward and update: loss scaling, clipping, a second gradient for SAM.

A recipe's choices as one value, which the eager step and the functional step both read.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.optim import Clip


@dataclass(frozen=True)
class Treatment:
    """`parts`: equal parts in which a batch's gradient is computed; `clip`: None for none; `sam`: rho, 0 for none;
    `scaled`: whether the loss is scaled up before backward, as fp16 needs."""

    parts: int = 1
    clip: Clip | None = None
    sam: float = 0.0
    scaled: bool = False
