"""Smoothed labels: torch's formula to rounding, the share may be a tensor; refused where there are no labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shoal.errors import RecipeError, TrainingError
from shoal.recipe import parse
from shoal.tasks import Targets, Task, build, training_loss, with_loss

CPU = torch.device("cpu")
SHARES = [0.0, 0.1, 0.5, 0.99]
KINDS = [float, torch.float32, torch.float64]


def classification(**keys: Any) -> Task:
    return build(parse({"task": {"name": "classification", **keys}}).task, Targets(4, (), (3, 5, 1, 3), CPU))


def modelling() -> Task:
    return build(parse({"task": "language_modelling"}).task, Targets(5, (8,), None, CPU))


def share(value: float, kind: Any) -> Any:
    return value if kind is float else torch.tensor(value, dtype=kind)


@pytest.mark.parametrize("value", SHARES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0, 3.0), "balanced"])
def test_classification_is_torchs_cross_entropy_with_smoothed_labels(value: float, kind: Any, weights: Any) -> None:
    torch.manual_seed(0)
    outputs, targets = 3 * torch.randn(12, 4), torch.randint(4, (12,))
    task = classification(class_weights=weights)
    assert task.smoothed is not None
    losses = task.smoothed(outputs, targets, share(value, kind))
    used = {None: None, "balanced": torch.tensor([1.0, 0.6, 3.0, 1.0])}.get(weights, torch.tensor((0.5, 2.0, 1.0, 3.0)))
    expected = F.cross_entropy(outputs, targets, weight=used, reduction="none", label_smoothing=value)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        training_loss(task, share(value, kind))(outputs, targets), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("value", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_language_modelling_is_the_mean_of_that_over_places(value: float, kind: Any) -> None:
    torch.manual_seed(0)
    outputs, targets = 3 * torch.randn(6, 8, 5), torch.randint(5, (6, 8))
    losses = training_loss(modelling(), share(value, kind))(outputs, targets)
    expected = [F.cross_entropy(o, t, label_smoothing=value) for o, t in zip(outputs, targets, strict=True)]
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_torch() -> None:
    outputs, targets = torch.randn(12, 4, requires_grad=True), torch.randint(4, (12,))
    found = torch.autograd.grad(training_loss(classification(), 0.2)(outputs, targets).sum(), outputs)
    expected = torch.autograd.grad(F.cross_entropy(outputs, targets, reduction="sum", label_smoothing=0.2), outputs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_runs_of_a_stack_smooth_as_each_alone() -> None:
    outputs, targets, task = torch.randn(12, 4), torch.randint(4, (12,)), classification(class_weights="balanced")
    shares = torch.tensor([0.0, 0.3])
    stacked = torch.func.vmap(lambda s: training_loss(task, s)(outputs, targets))(shares)
    torch.testing.assert_close(stacked, torch.stack([training_loss(task, s)(outputs, targets) for s in shares]))


def test_without_smoothing_the_loss_is_the_plain_one() -> None:
    for task in (classification(), modelling(), with_loss(classification(), F.cross_entropy)):
        assert training_loss(task, 0.0) is task.loss


def test_evaluation_keeps_the_plain_loss() -> None:
    outputs, targets, task = torch.randn(12, 4), torch.randint(4, (12,)), classification()
    training_loss(task, 0.3)
    torch.testing.assert_close(task.loss(outputs, targets), F.cross_entropy(outputs, targets, reduction="none"))


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets.unsqueeze(1)).square().mean(1)


@pytest.mark.parametrize("kind", ["regression", "multilabel", "own"])
def test_a_loss_without_labels_cannot_be_smoothed(kind: str) -> None:
    if kind == "own":
        task = with_loss(classification(), squared)
    else:
        task = build(parse({"task": kind}).task, Targets(None, (3,), None, CPU))
    message = r"regularise\.label_smoothing = 0\.1: .* expected task=classification or task=language_modelling.* Leave"
    with pytest.raises(RecipeError, match=message):
        training_loss(task, 0.1)
    with pytest.raises(RecipeError, match=r"regularise\.label_smoothing: "):
        training_loss(task, torch.tensor(0.1))


def test_outputs_of_another_shape_are_refused_as_without_smoothing() -> None:
    with pytest.raises(TrainingError, match=r"outputs have shape \[6, 5\]"):
        training_loss(modelling(), 0.1)(torch.randn(6, 5), torch.randint(5, (6, 8)))
