from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset

from shoal.datasets import Stream, from_objects
from shoal.datasets.streams import AGAIN
from shoal.errors import DataError

Part = Callable[..., Any]
X, Y = np.zeros((6, 2), "f4"), np.arange(6) % 3


class Points(IterableDataset):
    def __init__(self, total: int | None = None, target: Any = 1, **told: Any) -> None:
        self.total, self.target, self.digest = total, target, "v1"
        self.__dict__.update(told)

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.total or 100):
            yield torch.rand(2), self.target


class Sized(Points):
    def __len__(self) -> int:
        return self.total or 0


class Broken(Points):
    def __iter__(self) -> Iterator[Any]:
        raise OSError("no such stream")
        yield


def test_a_stream_tells_what_it_is_by_attributes_and_its_first_example(part: Part) -> None:
    data = from_objects(Points(classes=3, digest="v1"), part())
    assert (data.input_shape, data.target_shape, data.classes, data.class_counts) == ((2,), (), 3, None)
    assert data.sizes == {}
    assert data.normalisation is None
    assert data.notes == (AGAIN, "valid: none; nothing is evaluated as training goes")
    assert from_objects(Points(classes=["a", "b"], digest="v1"), part()).classes == 2
    assert from_objects(Points(target=0.5), part()).classes is None


def test_a_stream_with_a_length_tells_it(part: Part) -> None:
    data = from_objects(Sized(7, classes=3), part())
    assert data.sizes == {"train": 7}
    train = data.splits["train"]
    assert isinstance(train, Stream)
    assert train.length == 7


def test_a_stream_is_known_by_its_digest_and_its_length(part: Part) -> None:
    known = from_objects(Points(classes=3, digest="v1"), part()).digest
    assert from_objects(Points(50, classes=3, digest="v1"), part()).digest == known
    assert from_objects(Points(classes=3, digest="v2"), part()).digest != known
    assert from_objects(Sized(7, classes=3), part()).digest != from_objects(Sized(8, classes=3), part()).digest


@pytest.mark.parametrize("valid", [(X, Y), TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), Sized(6)])
def test_other_splits_may_be_of_any_kind(valid: Any, part: Part) -> None:
    data = from_objects({"valid": valid, "train": Points(classes=3)}, part())
    assert data.sizes == {"valid": 6}
    assert list(data.splits) == ["train", "valid"]


def test_workers_have_to_share_a_stream_out(part: Part) -> None:
    notes = from_objects(Points(classes=3), part(workers=2)).notes
    assert any("each of 2 processes reads the stream, which has to share its examples out" in note for note in notes)


@pytest.mark.parametrize(
    ("source", "fields", "message"),
    [
        (Points(), {}, "the stream Points gives labels, but train does not say how many classes.*stream.classes = 10"),
        (
            Points(classes=3, digest=None),
            {},
            "train: the stream Points has no `digest`, and it cannot be read through.*Set a text that changes",
        ),
        (Points(classes=3, digest=7), {}, "train: the `digest` of Points is 7: expected a text"),
        (Points(classes=3), {"valid": 0.1}, "dataset.valid = 0.1: nothing can be cut from a stream"),
        ({"train": Points(classes=3), "valid": (X, Y)}, {"valid": 5}, "dataset.valid = 5: this dataset has a valid"),
        (Broken(), {}, "train: the first example of Broken raised OSError: no such stream"),
        (Points(target="x"), {}, "the target of example 0 of Points is a str"),
        ({"train": (X, Y), "test": Points()}, {}, "train is no stream, and another split is one"),
        ({"train": Points(classes=3), "test": "x"}, {}, "test: found a str: expected"),
        (
            {"train": Points(classes=3), "test": (X[:, :1], Y)},
            {},
            r"test: the first example has .* \(1,",
        ),
        ({"train": Points(classes=3), "test": (X, Y * 0.5)}, {}, r"\(real values\), and in train .*\(labels\)"),
        ({"train": Points(classes=2), "test": (X, Y)}, {}, "labels out of range: test row 2 has the label 2"),
        ({"train": Points(classes=3), "tset": (X, Y)}, {}, "unknown split 'tset': did you mean 'test'"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(source: Any, fields: Any, message: str, part: Part) -> None:
    with pytest.raises(DataError, match=message):
        from_objects(source, part(**fields))
