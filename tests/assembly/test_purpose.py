"""How many examples are evaluated at once: never so many that large inputs fill the memory."""

from __future__ import annotations

from typing import Any

import pytest

from shoal.assembly.purpose import evaluation_batch
from shoal.datasets import Data


@pytest.mark.parametrize(
    ("shape", "target", "classes", "batch_size", "expected"),
    [
        ((1, 28, 28), (), 10, 32, 512),
        ((3, 224, 224), (), 1000, 8, 27),
        ((3, 224, 224), (), 1000, 64, 64),
        ((3, 4096, 4096), (), 2, 1, 1),
        ((128,), (128,), 65, 2, 4),
        ((12,), (3,), None, 32, 512),
        ((12,), (), 2, 4096, 4096),
    ],
)
def test_evaluation_batches_are_as_large_as_inputs_allow(
    shape: tuple[int, ...], target: tuple[int, ...], classes: int | None, batch_size: int, expected: int
) -> None:
    facts: dict[str, Any] = {"splits": {}, "class_counts": None, "digest": "", "normalisation": None}
    data = Data(input_shape=shape, target_shape=target, classes=classes, **facts)
    assert evaluation_batch(batch_size, data) == expected
