"""Data from streams: `torch.utils.data.IterableDataset`s, whose examples come in their own order, once through a pass.

Nothing can be known of a stream but by reading it: its first example tells the shapes, the rest is told by attributes.
It carries `digest` (text that changes with what it gives), and may carry `classes` (their number, or names), `__len__`
(examples of a pass) and `set_epoch` (called with the number of the pass). Nothing is normalised: constants would need
a pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from shoal import rng
from shoal.datasets.checks import check_finite, count_classes
from shoal.datasets.convert import examples
from shoal.datasets.cut import note, refuse_size
from shoal.datasets.digest import SPLITS, digest
from shoal.datasets.examples import Data, Examples, Stream
from shoal.datasets.items import Item, as_pair
from shoal.datasets.mapstyle import is_map_style, know
from shoal.errors import DataError
from shoal.recipe.parts import DatasetPart

AGAIN = (
    "train: a stream is read again from its start when a run resumes: exact only if it gives the same examples in the "
    "same order"
)


@dataclass(frozen=True)
class _Known:
    """What is known of one split before training."""

    content: Examples | Dataset[Any] | Stream
    input_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    labels: bool
    found: Tensor | None
    digest: str


def from_streams(splits: Mapping[str, Any], part: DatasetPart) -> Data:
    """Return the data of splits of which train is a stream; the others may be streams that end, Datasets or arrays.

    Raises DataError for what they do not tell and should.
    """
    if not isinstance(splits["train"], IterableDataset):
        raise DataError("train is no stream, and another split is one: give that as arrays or as a map-style Dataset.")
    if "valid" in splits:
        refuse_size(part.valid)
    elif part.valid:
        raise DataError(
            f"dataset.valid = {part.valid:g}: nothing can be cut from a stream, which has no fixed number of examples. "
            'Pass a valid split beside it: {"train": stream, "valid": (x, y)}.'
        )
    classes = _classes(splits["train"])
    known = {split: _know(split, splits[split], classes) for split in SPLITS if split in splits}
    _check(known, classes)
    train = known["train"]
    identity = "\n".join(f"{split} {what.digest}" for split, what in known.items())
    return Data(
        splits={split: what.content for split, what in known.items()},
        input_shape=train.input_shape,
        target_shape=train.target_shape,
        classes=classes if train.labels else None,
        class_counts=None,
        digest=hashlib.sha256(identity.encode()).hexdigest(),
        normalisation=None,
        notes=tuple(_notes(known, part)),
    )


def length(source: Any) -> int | None:
    """Return how many examples a pass over a stream has; None where it does not tell."""
    try:
        return len(source)
    except (TypeError, NotImplementedError):
        return None


def _classes(train: Any) -> int | None:
    told: Any = getattr(train, "classes", None)
    return told if isinstance(told, int) or told is None else len(list(cast(Iterable[Any], told)))


def _know(split: str, value: Any, classes: int | None) -> _Known:
    if isinstance(value, IterableDataset):
        return _know_stream(split, value, classes)
    if is_map_style(value):
        found = know(split, value)
        x, y = found.first
        real = y.is_floating_point()
        return _Known(value, tuple(x.shape), tuple(y.shape), not real, None if real else found.labels, found.digest)
    pair = cast(Sequence[Any], value) if isinstance(value, tuple | list) else ()
    if len(pair) != 2:
        kind = type(cast(object, value)).__name__
        raise DataError(f"{split}: found a {kind}: expected (x, y), a map-style Dataset or a stream.")
    held = examples(split, pair[0], pair[1])
    check_finite(split, held)
    real = held.targets.is_floating_point()
    shapes = tuple(held.inputs.shape[1:]), tuple(held.targets.shape[1:])
    return _Known(held, *shapes, not real, None if real else held.targets.to(torch.int64), digest({split: held}))


def _know_stream(split: str, source: Any, classes: int | None) -> _Known:
    name, told = type(source).__name__, getattr(source, "digest", None)
    if told is None:
        raise DataError(
            f"{split}: the stream {name} has no `digest`, and it cannot be read through to find what identifies it. "
            "Set a text that changes with what it gives, such as stream.digest = 'logs of May, shuffled by 7'."
        )
    if not isinstance(told, str) or not told:
        raise DataError(f"{split}: the `digest` of {name} is {told!r}: expected a text that changes with its content.")
    x, y = _first(split, source)
    labels = not y.is_floating_point()
    if labels and classes is None:
        raise DataError(
            f"{split}: the stream {name} gives labels, but train does not say how many classes there are, which the "
            "model needs to know: set, for example, stream.classes = 10 on the object."
        )
    size = length(source)
    content = Stream(source, split, tuple(x.shape), tuple(y.shape), classes if labels else None, size)
    return _Known(content, content.input_shape, content.target_shape, labels, None, f"stream {size} given {told}")


def _first(split: str, source: Any) -> Item:
    """The first example of a stream, in the way in which it will be read."""
    name = type(source).__name__
    with rng.preserved():
        rng.seed_all(rng.key(0, "stream", 0, 0, 0))
        try:
            found: Any = next(iter(source), None)
        except Exception as error:  # a boundary: the code is the user's, and the traceback is kept as the cause
            raise DataError(f"{split}: the first example of {name} raised {type(error).__name__}: {error}") from error
    if found is None:
        raise DataError(f"{split}: the stream {name} ended before its first example: expected one at least.")
    return as_pair(found, f"example 0 of {name}")


def _check(known: Mapping[str, _Known], classes: int | None) -> None:
    """Raise DataError where a split is not like train, or has labels that train's classes do not reach."""
    train = known["train"]
    ours = train.input_shape, train.target_shape, train.labels
    for split, what in known.items():
        theirs = what.input_shape, what.target_shape, what.labels
        if theirs != ours:
            kinds = ["labels" if found[2] else "real values" for found in (theirs, ours)]
            raise DataError(
                f"{split}: the first example has an input of shape {theirs[0]} and a target of shape {theirs[1]} "
                f"({kinds[0]}), and in train {ours[0]} and {ours[1]} ({kinds[1]}): expected the same."
            )
    labels = {split: what.found for split, what in known.items() if what.found is not None}
    if labels:
        count_classes(torch.zeros(1, dtype=torch.int64), labels, classes=classes)


def _notes(known: Mapping[str, _Known], part: DatasetPart) -> list[str]:
    found = [AGAIN]
    for split, what in known.items():
        if isinstance(what.content, Stream) and part.workers:
            found.append(
                f"{split}: each of {part.workers} processes reads the stream, which has to share its examples out "
                "by torch.utils.data.get_worker_info(): else all come from each of them"
            )
    return found if "valid" in known else [*found, note(0)]
