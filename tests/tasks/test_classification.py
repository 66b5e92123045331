"""Classification: its numbers against NumPy and scikit-learn, and the targets that it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from shoal.errors import RecipeError
from shoal.recipe import parse
from shoal.tasks import Targets, Task, build

from .means import whole

CPU = torch.device("cpu")


def classification(
    classes: int | None = 10, counts: Sequence[int] | None = None, shape: tuple[int, ...] = (), **keys: Any
) -> Task:
    part = parse({"task": {"name": "classification", **keys}}).task
    return build(part, Targets(classes, shape, counts, CPU))


def data(classes: int = 10, n: int = 200) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, classes, generator=generator), torch.randint(0, classes, (n,), generator=generator)


def test_the_loss_is_the_cross_entropy_of_each_example() -> None:
    outputs, targets = data()
    losses = classification().loss(outputs, targets)
    assert losses.shape == (200,)
    probabilities = torch.softmax(outputs.double(), 1).numpy()
    assert float(losses.mean()) == pytest.approx(log_loss(targets.numpy(), probabilities), rel=1e-6)


def test_the_metrics_are_scikit_learns() -> None:
    outputs, targets = data()
    task = classification()
    accuracy = whole(task.metrics["accuracy"], outputs, targets)
    assert accuracy == pytest.approx(accuracy_score(targets.numpy(), outputs.argmax(1).numpy()))
    top5 = whole(task.metrics["top5"], outputs, targets)
    assert top5 == pytest.approx(top_k_accuracy_score(targets.numpy(), outputs.numpy(), k=5))


@pytest.mark.parametrize(("classes", "names"), [(2, {"accuracy"}), (5, {"accuracy"}), (6, {"accuracy", "top5"})])
def test_top5_is_measured_where_there_are_more_than_five_classes(classes: int, names: set[str]) -> None:
    task = classification(classes)
    assert set(task.metrics) == names
    assert task.outputs == classes
    assert all(metric.higher_is_better for metric in task.metrics.values())
    assert [name for name, metric in task.metrics.items() if metric.in_training] == ["accuracy"]


def test_a_class_weight_multiplies_the_cross_entropy_as_given() -> None:
    outputs, targets = data(3)
    plain, weighted = classification(3), classification(3, class_weights=[1, 2.5, 0])
    factor = torch.tensor([1.0, 2.5, 0.0])[targets]
    torch.testing.assert_close(weighted.loss(outputs, targets), plain.loss(outputs, targets) * factor)


def test_balanced_weights_are_scikit_learns() -> None:
    outputs, targets = data(3)
    counts = torch.bincount(targets).tolist()
    weights = compute_class_weight("balanced", classes=np.arange(3), y=targets.numpy())
    balanced = classification(3, counts, class_weights="balanced")
    explicit = classification(3, class_weights=weights.tolist())
    torch.testing.assert_close(balanced.loss(outputs, targets), explicit.loss(outputs, targets))
    assert np.average(weights, weights=counts) == pytest.approx(1)


def test_real_valued_targets_are_sent_to_regression() -> None:
    with pytest.raises(RecipeError, match=r"real-valued.* Choose task=regression"):
        classification(None)


def test_one_hot_targets_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"has shape \[10\].* argmax"):
        classification(10, shape=(10,))


def test_a_wrong_number_of_weights_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"has 2 weights and the dataset has 3 classes: expected one weight a class"):
        classification(3, class_weights=[1, 2])


@pytest.mark.parametrize(
    ("counts", "message"),
    [([3, 0, 2], "no example of class 1:"), ([3, 4], "no example of class 2:"), (None, "is not known")],
)
def test_balanced_needs_an_example_of_each_class(counts: Sequence[int] | None, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        classification(3, counts, class_weights="balanced")
