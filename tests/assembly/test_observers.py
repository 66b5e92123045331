"""Observers against the same numbers computed at once, over batches of any size, padded or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix
from torch import Tensor

from shoal.assembly.observers import BLOCKS, COLUMNS, NUMBERS, SHOWN, Blocks, Labels, SeveralLabels, Values, preview
from shoal.datasets import Batch, Position

CPU = torch.device("cpu")


def passed(inputs: Tensor, targets: Tensor, outputs: Tensor, size: int) -> Iterator[tuple[Batch, Tensor]]:
    """Batches with their outputs; the last one is padded with its first example."""
    total = len(targets)
    for low in range(0, total, size):
        rows = torch.arange(low, low + size)
        real = rows < total
        rows = torch.where(real, rows, 0)
        weight = None if bool(real.all()) else real.float()
        yield Batch(inputs[rows], targets[rows], rows, weight, int(real.sum()), Position(0, 0, 0)), outputs[rows]


def classified(total: int = 103, classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(total, classes, generator=random)
    return torch.randn(total, 1, 8, 8, generator=random), torch.randint(classes, (total,), generator=random), outputs


@pytest.mark.parametrize("size", [7, 50, 103])
@pytest.mark.parametrize("scalar", [False, True])
def test_labels_are_counted_and_the_worst_mistakes_found(size: int, scalar: bool) -> None:
    inputs, targets, outputs = classified()
    seen = Labels(4, len(targets), CPU)
    losses = F.cross_entropy(outputs, targets, reduction="none")
    for batch, predicted in passed(inputs, targets, outputs, size):
        each = F.cross_entropy(predicted, batch.targets, reduction="none")
        seen(batch, predicted, each.mean() if scalar else each)
    told: Any = seen.told()
    predictions = outputs.argmax(1)
    assert told["confusion"] == confusion_matrix(targets, predictions).tolist()
    assert told["wrong"] == int((predictions != targets).sum())
    wrong = torch.where(predictions != targets, losses, -1.0).topk(SHOWN)
    assert told["worst"]["index"].tolist() == wrong.indices.tolist()
    torch.testing.assert_close(told["worst"]["loss"], wrong.values)
    shares = outputs.softmax(1)
    for rows in (told["some"], told["worst"]):
        index = rows["index"]
        assert torch.equal(rows["target"], targets[index])
        assert torch.equal(rows["prediction"], predictions[index])
        torch.testing.assert_close(rows["p_target"], shares[index, targets[index]])
        torch.testing.assert_close(rows["p_prediction"], shares[index].max(1).values)
        assert torch.equal(rows["inputs"], inputs[index])
    assert told["some"]["index"].tolist() == [number * 103 // SHOWN for number in range(SHOWN)]


def test_a_loss_that_is_not_finite_is_the_worst() -> None:
    inputs, targets, outputs = classified()
    outputs = outputs.clone()
    losses = F.cross_entropy(outputs, targets, reduction="none")
    wrong = (outputs.argmax(1) != targets).nonzero().flatten()
    losses[wrong[3]], losses[wrong[5]] = torch.inf, torch.nan
    seen = Labels(4, len(targets), CPU)
    seen(next(passed(inputs, targets, outputs, 103))[0], outputs, losses)
    told: Any = seen.told()
    assert set(told["worst"]["index"][:2].tolist()) == {int(wrong[3]), int(wrong[5])}


def test_a_matrix_of_very_many_classes_is_left_out() -> None:
    seen = Labels(101, 3, CPU)
    outputs, targets = torch.eye(3, 101), torch.tensor([0, 1, 3])
    seen(next(passed(torch.zeros(3, 2), targets, outputs, 3))[0], outputs, torch.ones(3))
    told: Any = seen.told()
    assert (told["confusion"], told["wrong"]) == (None, 1)


@pytest.mark.parametrize("columns", [1, 3, 6])
def test_values_are_pairs(columns: int) -> None:
    targets, outputs = torch.randn(40, columns), torch.randn(40, columns)
    seen = Values(40, CPU)
    flat = targets.squeeze(1) if columns == 1 else targets
    for batch, predicted in passed(torch.zeros(40, 2), flat, outputs, 16):
        seen(batch, predicted, torch.zeros(16))
    told: Any = seen.told()
    assert told["columns"] == columns
    expected = torch.stack([targets, outputs], 2).transpose(0, 1)[:COLUMNS]
    torch.testing.assert_close(torch.tensor(told["pairs"]), expected)


@pytest.mark.parametrize("size", [10, 33])
def test_labels_of_which_an_example_has_several_are_counted(size: int) -> None:
    random = torch.Generator().manual_seed(0)
    targets, outputs = torch.randint(2, (33, 3), generator=random).float(), torch.randn(33, 3, generator=random)
    seen = SeveralLabels()
    for batch, predicted in passed(torch.zeros(33, 2), targets, outputs, size):
        seen(batch, predicted, torch.zeros(size))
    told: Any = seen.told()
    known = multilabel_confusion_matrix(targets.int().numpy(), (outputs > 0).int().numpy())
    assert told == {
        "kind": "multilabel",
        "tp": known[:, 1, 1].tolist(),
        "fp": known[:, 0, 1].tolist(),
        "fn": known[:, 1, 0].tolist(),
    }


def test_the_hardest_blocks_come_with_the_bits_of_each_token() -> None:
    random = torch.Generator().manual_seed(0)
    tokens, outputs = torch.randint(5, (30, 6), generator=random), torch.randn(30, 6, 5, generator=random)
    losses = F.cross_entropy(outputs.flatten(0, 1), tokens.flatten(), reduction="none").view(30, 6).mean(1)
    seen = Blocks()
    for batch, predicted in passed(tokens, tokens, outputs, 8):
        seen(batch, predicted, losses[batch.index])
    told: Any = seen.told()
    assert told["worst"]["index"].tolist() == losses.topk(BLOCKS).indices.tolist()
    torch.testing.assert_close(told["worst"]["bits"].mean(1) * torch.tensor(2.0).log(), told["worst"]["loss"])


@pytest.mark.parametrize(
    ("seen", "targets"),
    [
        (Labels(4, 3, CPU), torch.zeros(3, dtype=torch.int64)),
        (Values(3, CPU), torch.zeros(3)),
        (SeveralLabels(), torch.zeros(3, 2)),
        (Blocks(), torch.zeros(3, 2, dtype=torch.int64)),
    ],
)
def test_outputs_of_a_shape_of_the_users_are_passed_over(seen: Any, targets: Tensor) -> None:
    odd = torch.zeros(3, 7, 7, 7)
    seen(Batch(torch.zeros(3, 2), targets, torch.arange(3), None, 3, Position(0, 0, 0)), odd, torch.zeros(3))
    assert seen.told() is None


def test_inputs_are_previewed() -> None:
    assert preview(torch.zeros(2, 3, 600, 300)).shape == (2, 3, 200, 150)
    assert preview(torch.zeros(2, 1, 8, 8)).shape == (2, 1, 8, 8)
    assert preview(torch.zeros(2, 5, 40)).shape == (2, NUMBERS)
