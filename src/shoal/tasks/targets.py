"""What a task is told about the targets that it will see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Targets:
    """The targets of a dataset: `classes` of labels from 0, or None where they are real values of `target_shape`.

    `class_counts` are the examples of each class in train, where they are known; `device` is where outputs will be;
    `characters_per_token` is 1 for what is no text. `multilabel` says whether targets [N, K] are labels that an example
    has or has not (None: they may be), and `label_shares` which share of train has each.
    """

    classes: int | None
    target_shape: tuple[int, ...]
    class_counts: Sequence[int] | None
    device: torch.device
    characters_per_token: float = 1.0
    multilabel: bool | None = None
    label_shares: Sequence[float] | None = None
