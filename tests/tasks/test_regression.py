"""Regression: its numbers against NumPy, torch and scikit-learn, and shapes that are matched, never broadcast."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import Tensor

from shoal.errors import RecipeError, TrainingError
from shoal.recipe import parse
from shoal.tasks import Targets, Task, build

from .means import measure, padded, whole

CPU = torch.device("cpu")


def regression(shape: tuple[int, ...] = (), classes: int | None = None, **keys: Any) -> Task:
    part = parse({"task": {"name": "regression", **keys}}).task
    return build(part, Targets(classes, shape, None, CPU))


def data(columns: int | None = None, n: int = 100) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    targets = torch.randn(n, columns or 1, generator=generator) * 3 + 1
    outputs = targets + torch.randn(n, columns or 1, generator=generator)
    return outputs, targets if columns else targets.squeeze(1)


def test_a_column_of_outputs_meets_a_vector_of_targets_without_broadcasting() -> None:
    outputs, targets = data()
    losses = regression().loss(outputs, targets)
    torch.testing.assert_close(losses, (outputs[:, 0] - targets) ** 2)
    torch.testing.assert_close(regression().loss(outputs.squeeze(1), targets), losses)
    torch.testing.assert_close(regression((1,)).loss(outputs, targets.unsqueeze(1)), losses)


@pytest.mark.parametrize(("name", "delta"), [("mse", 1.0), ("mae", 1.0), ("huber", 1.0), ("huber", 0.3)])
def test_the_losses_are_torchs(name: str, delta: float) -> None:
    outputs, targets = data(4)
    losses = regression((4,), loss=name, delta=delta).loss(outputs, targets)
    assert losses.shape == (100,)
    theirs = {"mse": torch.nn.MSELoss(), "mae": torch.nn.L1Loss(), "huber": torch.nn.HuberLoss(delta=delta)}[name]
    torch.testing.assert_close(losses.mean(), theirs(outputs, targets))


@pytest.mark.parametrize("columns", [None, 1, 3])
def test_the_metrics_are_scikit_learns(columns: int | None) -> None:
    outputs, targets = data(columns)
    task = regression((columns,) if columns else ())
    assert task.outputs == (columns or 1)
    y, p = targets.double().numpy(), outputs.double().numpy().reshape(targets.shape)
    assert whole(task.metrics["mse"], outputs, targets) == pytest.approx(mean_squared_error(y, p), rel=1e-5)
    assert whole(task.metrics["mae"], outputs, targets) == pytest.approx(mean_absolute_error(y, p), rel=1e-5)
    r2 = r2_score(y, p, multioutput="variance_weighted")
    assert whole(task.metrics["r2"], outputs, targets) == pytest.approx(r2, rel=1e-6)


def test_r2_survives_a_mean_far_from_zero() -> None:
    outputs, targets = data(2)
    far = whole(regression((2,)).metrics["r2"], outputs.double() + 1e5, targets.double() + 1e5)
    assert far == pytest.approx(whole(regression((2,)).metrics["r2"], outputs, targets), rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_r2_of_constant_targets_is_nan(value: float) -> None:
    outputs, _ = data(n=37)
    assert math.isnan(measure(regression().metrics["r2"], padded(outputs, torch.full((37,), value), size=8)))


def test_only_the_absolute_error_is_measured_in_training() -> None:
    metrics = regression().metrics
    assert [name for name, metric in metrics.items() if metric.in_training] == ["mae"]
    assert [name for name, metric in metrics.items() if metric.higher_is_better] == ["r2"]


@pytest.mark.parametrize(("outputs", "targets"), [((8, 10), (8,)), ((8, 2), (8, 3)), ((8,), (8, 1)), ((1, 1), (8, 1))])
def test_outputs_of_another_shape_are_refused(outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match="expected equal shapes, or outputs with one column more"):
        regression().loss(torch.zeros(outputs), torch.zeros(targets))


def test_labels_are_sent_to_classification() -> None:
    with pytest.raises(RecipeError, match=r"labels of 10 classes.* Choose task=classification, or convert .* to float"):
        regression(classes=10)


def test_pictures_as_targets_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"has shape \[8, 8\].* Flatten"):
        regression((8, 8))
