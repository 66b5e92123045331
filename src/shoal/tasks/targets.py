"""What a task is told about the targets that it will see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Targets:
    """The targets of a dataset: `classes` of labels from 0, or None where they are real values of `target_shape`.

    `class_counts` are the examples of each class in train, where they are known; `device` is where outputs will be.
    """

    classes: int | None
    target_shape: tuple[int, ...]
    class_counts: Sequence[int] | None
    device: torch.device
