"""What the last pass over a split leaves for the pages: which predictions were right, which were furthest off.

An observer looks at each batch as it is evaluated (`training.evaluation.evaluate`), adds on the device, and is asked
once at the end. It draws no random numbers and changes nothing, so metrics have the same bits with and without it.
Outputs of another shape than the data's own task has (a task of the user's) are passed over.

Legend: B examples of a batch, K classes, labels or values of a target, T tokens of a block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from shoal.assembly.choosing import Highest, Rows, Spread
from shoal.datasets import Batch, Data

SHOWN = 24
"""Predictions shown of each kind."""
PAIRS, COLUMNS = 500, 4
"""Pairs of target and prediction of a regression, and columns of its targets, at most."""
BLOCKS, TOKENS = 12, 512
"""Blocks of a text, and tokens of each, at most."""
MOST_CLASSES = 100
"""A larger confusion matrix is read by nobody."""
MOST_LABELS = 1000
NUMBERS = 16
"""Numbers shown of an input that is no picture."""
SIDE = 256
"""Pictures are thinned to sides of at most about this many pixels before they are kept."""
SHADED_NUMBERS = 1 << 24
"""Outputs gathered at once for the bits of single tokens, at most."""


class Observer(Protocol):
    """Sees the batches of a pass, then tells what was worth keeping."""

    def __call__(self, batch: Batch, outputs: Tensor, losses: Tensor) -> None: ...

    def told(self) -> dict[str, Any] | None:
        """Return plain values and, under `inputs`, tensors on the host; None where the outputs were of no use."""
        ...


def observer_for(data: Data, *, total: int, multilabel: bool, device: torch.device) -> Observer:
    """Return what fits the targets of a dataset, for a split of `total` examples."""
    if data.classes is not None:
        return Blocks() if data.target_shape else Labels(data.classes, total, device)
    return SeveralLabels() if multilabel or data.multilabel else Values(total, device)


class Labels:
    """Classification: the confusion matrix, predictions at fixed places, the worst mistakes."""

    def __init__(self, classes: int, total: int, device: torch.device) -> None:
        self.classes = classes
        self.counts = torch.zeros(classes * classes if classes <= MOST_CLASSES else 0, dtype=torch.int64, device=device)
        self.wrong = torch.zeros((), dtype=torch.int64, device=device)
        self.some, self.worst = Spread(SHOWN, total, device), Highest(SHOWN)

    def __call__(self, batch: Batch, outputs: Tensor, losses: Tensor) -> None:
        targets = batch.targets
        if targets.ndim != 1 or outputs.shape != (len(targets), self.classes):
            return
        predictions = outputs.argmax(1)
        each = losses if losses.ndim == 1 else F.cross_entropy(outputs, targets, reduction="none")
        counts = torch.ones_like(targets) if batch.weight is None else (batch.weight > 0).to(torch.int64)
        mistaken = (predictions != targets) & (counts > 0)
        self.wrong += mistaken.sum()
        if len(self.counts):
            self.counts.index_add_(0, targets * self.classes + predictions, counts)

        def take(rows: Tensor) -> Rows:
            return _labelled(batch, outputs, each, rows)

        self.some.add(batch.size, take)
        self.worst.add(torch.where(mistaken, torch.nan_to_num(each, nan=torch.inf, posinf=3e38), -torch.inf), take)

    def told(self) -> dict[str, Any] | None:
        if not self.some.kept:
            return None
        matrix = cast("list[list[int]]", self.counts.view(-1, self.classes).tolist())
        return {
            "kind": "classification",
            "classes": self.classes,
            "wrong": int(self.wrong.item()),
            "confusion": matrix or None,
            "some": self.some.rows(),
            "worst": self.worst.rows(),
        }


class Values:
    """Regression: pairs of target and prediction, at places spread over the split."""

    def __init__(self, total: int, device: torch.device) -> None:
        self.pairs = Spread(PAIRS, total, device)
        self.columns = 0

    def __call__(self, batch: Batch, outputs: Tensor, losses: Tensor) -> None:
        del losses
        targets = batch.targets.reshape(len(batch.targets), -1)
        if outputs.numel() != targets.numel() or len(outputs) != len(targets):
            return
        values = outputs.reshape(targets.shape)
        self.columns = targets.shape[1]

        def take(rows: Tensor) -> Rows:
            both = torch.stack([targets.to(values.dtype), values], dim=2)[:, :COLUMNS]
            return {"pairs": both.index_select(0, rows)}

        self.pairs.add(batch.size, take)

    def told(self) -> dict[str, Any] | None:
        rows = self.pairs.rows()
        if not rows:
            return None
        return {"kind": "regression", "columns": self.columns, "pairs": rows["pairs"].transpose(0, 1).tolist()}


class SeveralLabels:
    """Multilabel: how often each label was found, wrongly found and missed."""

    def __init__(self) -> None:
        self.counts: Tensor | None = None

    def __call__(self, batch: Batch, outputs: Tensor, losses: Tensor) -> None:
        del losses
        if outputs.ndim != 2 or outputs.shape != batch.targets.shape or outputs.shape[1] > MOST_LABELS:
            return
        found, there = outputs > 0, batch.targets > 0.5
        counted = torch.stack([found & there, found & ~there, ~found & there])
        if batch.weight is not None:
            counted &= (batch.weight > 0).unsqueeze(1)
        sums = counted.sum(1)
        self.counts = sums if self.counts is None else self.counts + sums

    def told(self) -> dict[str, Any] | None:
        if self.counts is None:
            return None
        found = cast("list[list[int]]", self.counts.tolist())
        return {"kind": "multilabel", **dict(zip(("tp", "fp", "fn"), found, strict=True))}


class Blocks:
    """Language modelling: the blocks that were hardest to foresee, token by token."""

    def __init__(self) -> None:
        self.worst = Highest(BLOCKS)

    def __call__(self, batch: Batch, outputs: Tensor, losses: Tensor) -> None:
        targets = batch.targets
        if outputs.ndim != 3 or outputs.shape[:2] != targets.shape or losses.ndim != 1:
            return

        def take(rows: Tensor) -> Rows:
            tokens = targets[:, :TOKENS].index_select(0, rows)
            kept = {"index": batch.index.index_select(0, rows), "loss": losses.index_select(0, rows), "tokens": tokens}
            if tokens.numel() * outputs.shape[2] <= SHADED_NUMBERS:
                chosen = outputs[:, :TOKENS].index_select(0, rows)
                nats = F.cross_entropy(chosen.flatten(0, 1), tokens.flatten(), reduction="none")
                kept["bits"] = nats.view(tokens.shape) / math.log(2)
            return kept

        real = losses if batch.weight is None else torch.where(batch.weight > 0, losses, -torch.inf)
        self.worst.add(torch.nan_to_num(real, nan=torch.inf, posinf=3e38, neginf=-torch.inf), take)

    def told(self) -> dict[str, Any] | None:
        rows = self.worst.rows()
        return {"kind": "language_modelling", "worst": rows} if rows else None


def _labelled(batch: Batch, outputs: Tensor, losses: Tensor, rows: Tensor) -> Rows:
    """Index, target, prediction, the probability of both, loss and input of some examples."""
    targets = batch.targets.index_select(0, rows)
    shares = outputs.index_select(0, rows).to(torch.float32).softmax(1)
    top = shares.max(1)
    return {
        "index": batch.index.index_select(0, rows),
        "target": targets,
        "prediction": top.indices,
        "p_target": shares.gather(1, targets.unsqueeze(1)).squeeze(1),
        "p_prediction": top.values,
        "loss": losses.index_select(0, rows),
        "inputs": preview(batch.inputs.index_select(0, rows)),
    }


def preview(inputs: Tensor) -> Tensor:
    """Return what is kept of inputs [n, ...]: pictures thinned, the first numbers of anything else."""
    if not is_picture(inputs.shape[1:]):
        return inputs.flatten(1)[:, :NUMBERS]
    step = [max(1, -(-side // SIDE)) for side in inputs.shape[-2:]]
    return inputs[..., :: step[0], :: step[1]]


def is_picture(shape: Sequence[int]) -> bool:
    """Return whether an input of this shape is shown as a picture: [1 or 3, H, W], or a square [H, H].

    >>> [is_picture(shape) for shape in ((1, 8, 8), (3, 32, 48), (28, 28), (12,), (5, 40), (7, 9, 9))]
    [True, True, True, False, False, False]
    """
    if len(shape) == 3:
        return shape[0] in (1, 3) and min(shape[1:]) >= 4
    return len(shape) == 2 and shape[0] == shape[1] >= 8
