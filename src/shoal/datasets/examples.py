"""What a dataset is once it has been built: its splits, shapes, classes, digest and normalisation constants.

Plain frozen data. Where examples come from is in `digits`, `idx`, `arrays`, `tabular`, `text`, `mapstyle` and
`streams`; in which order they are trained on is in `memory`, `workers` and `stream_batches`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True)
class Examples:
    """One split held in memory; it shares memory with the arrays it was made from.

    inputs [N, ...] of any numeric dtype (uint8 pictures stay uint8); targets [N] integer labels, or [N] or [N, K]
    real values; rows: the int64 rows of both that belong to the split, None for all of them; tokens: inputs are
    numbers of words or characters, so that batches keep them as int64 and nothing normalises them; multilabel: targets
    [N, K] were integers or booleans of 0 and 1, several labels an example, and are float32 here.
    """

    inputs: Tensor
    targets: Tensor
    rows: Tensor | None = None
    tokens: bool = False
    multilabel: bool = False

    def __len__(self) -> int:
        return len(self.inputs) if self.rows is None else len(self.rows)


@dataclass(frozen=True)
class Stream:
    """One split that is a stream, and what its first example was like.

    classes: the number of classes where targets are integer labels, None where they are real values; length: the
    examples of a pass where the stream tells it.
    """

    source: Any
    split: str
    input_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    classes: int | None
    length: int | None

    @property
    def name(self) -> str:
        """What messages call it: `the train stream (Lines)`."""
        return f"the {self.split} stream ({type(self.source).__name__})"


@dataclass(frozen=True)
class Normalisation:
    """Constants computed once from train; `apply` is (inputs - mean) / deviation in float32.

    mean and deviation broadcast to [B, *input_shape]: [C, 1, 1] for pictures, the shape of an example otherwise.

    >>> constants = Normalisation(torch.tensor([1.0]), torch.tensor([2.0]))
    >>> constants.apply(torch.tensor([[5]], dtype=torch.uint8))
    tensor([[2.]])
    """

    mean: Tensor
    deviation: Tensor

    def apply(self, inputs: Tensor) -> Tensor:
        """Return `inputs` shifted and scaled, as float32, on their device."""
        there = self.to(inputs.device)
        return inputs.to(torch.float32).sub(there.mean).div_(there.deviation)

    def to(self, device: torch.device) -> Normalisation:
        """Return the constants on a device."""
        return self if self.mean.device == device else Normalisation(self.mean.to(device), self.deviation.to(device))

    def to_plain(self) -> dict[str, Any]:
        """Return the constants as nested lists, to be recorded as JSON; `from_plain` reads back the same bits."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Normalisation:
        """Return the constants that `to_plain` recorded."""
        return cls(torch.tensor(plain["mean"]).float(), torch.tensor(plain["deviation"]).float())


def picture_encoding(shape: Sequence[int], *, levels: int = 255) -> dict[str, Any]:
    """Return the `encoding` of pictures [channels, height, width] whose values go from 0, black, to `levels`, full."""
    channels, height, width = shape
    return {"kind": "image", "channels": channels, "height": height, "width": width, "levels": levels}


@dataclass(frozen=True)
class Data:
    """A dataset ready to be trained on: what the builder of every dataset entry returns."""

    splits: Mapping[str, Examples | Dataset[Any] | Stream]
    """`train`, and `valid` and `test` where there is one."""
    input_shape: tuple[int, ...]
    """Of one example: (1, 8, 8)."""
    target_shape: tuple[int, ...]
    """Of one target: () for labels and single values."""
    classes: int | None
    """The number of classes where targets are integer labels; None where they are real values."""
    class_counts: tuple[int, ...] | None
    """Examples of each class in train; None for real values, and where a Dataset does not tell its targets."""
    digest: str
    """SHA-256 of the content, in hexadecimal: never of paths or of compression."""
    normalisation: Normalisation | None
    """Computed from train; None where it is not wanted, and for map-style Datasets."""
    notes: tuple[str, ...] = ()
    """Sentences for the screen."""
    labels: tuple[str, ...] | None = None
    """The names of the classes, in the order of their labels; None where they have none."""
    multilabel: bool | None = None
    """Whether targets [N, K] say which of K labels an example has: True where they are integers of 0 and 1, False where
    they hold other values; None where either may be meant (real values of 0 and 1), or is not known."""
    label_shares: tuple[float, ...] | None = None
    """The share of train that has each of K labels; None where targets hold other values, or it is not known."""
    encoding: Mapping[str, Any] | None = None
    """How a raw input becomes an example, for `shoal predict`: plain data with a `kind`, recorded with the run."""
    part: Mapping[str, Any] | None = None
    """What a recipe says of data that were made in Python (`dataset.name` and keys); None where it can say nothing."""

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples of each split; of streams only where they tell it."""
        sizes = {
            name: split.length if isinstance(split, Stream) else len(cast(Sized, split))
            for name, split in self.splits.items()
        }
        return {name: size for name, size in sizes.items() if size is not None}
