"""Every entry of every table goes through the same checks: adding an entry adds its suite.

An entry is two halves under one name: the class of its parameters in `recipe.tables`, and its builder in its room.
Models have a suite of their own, in `test_models`, and augmentations, in `test_augmentations`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from shoal.datasets import table as datasets
from shoal.models import table as models
from shoal.optim import table as optim
from shoal.recipe.fields import NEVER, marks
from shoal.recipe.parse import parse
from shoal.recipe.tables import TABLES
from shoal.schedules import AVERAGES, CURVES
from shoal.tasks import Targets, Task
from shoal.tasks import table as tasks

BUILDERS: dict[str, Mapping[str, Any]] = {
    "dataset": datasets.BUILDERS,
    "model": models.BUILDERS,
    "task": tasks.BUILDERS,
    "optimizer": optim.BUILDERS,
    "schedule": CURVES,
    "average": AVERAGES,
}
PASSED_FROM_PYTHON = {"external", "map_style", "stream"}
"""Entries that stand for an object: they may do without a builder."""

SHIPPED = {
    kind: {name for name, cls in table.items() if cls.__module__.startswith("shoal.recipe.")}
    for kind, table in TABLES.items()
}
ENTRIES = [(kind, name) for kind, names in SHIPPED.items() for name in sorted(names)]
CPU = torch.device("cpu")


def test_every_kind_has_a_room() -> None:
    assert set(BUILDERS) == set(TABLES)


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_an_entry_has_a_builder(kind: str, name: str) -> None:
    assert name in BUILDERS[kind] or name in PASSED_FROM_PYTHON


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_a_builder_has_an_entry(kind: str) -> None:
    assert set(BUILDERS[kind]) <= set(TABLES[kind])


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_an_entry_says_what_it_is_and_what_its_keys_mean(kind: str, name: str) -> None:
    cls = TABLES[kind][name]
    said = inspect.getdoc(cls)
    assert said
    assert said[0].isupper()
    assert said.endswith(".")
    for key, field in cls.model_fields.items():
        if key != "name":
            assert marks(field).meaning
            assert not (marks(field).stackable and marks(field).identity is NEVER), key


def measured(task: Task, outputs: Tensor, targets: Tensor, weight: Tensor) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, metric in task.metrics.items():
        statistics = metric.statistics(outputs, targets)
        assert all(values.shape == weight.shape for values in statistics.values()), name
        loss = float((task.loss(outputs, targets) * weight).sum() / weight.sum())
        means = {key: float((values * weight).sum() / weight.sum()) for key, values in statistics.items()}
        found[name] = metric.finish({"loss": loss, **means})
    return found


TASKS: dict[str, list[tuple[int | None, tuple[int, ...]]]] = {
    "classification": [(3, ()), (10, ())],
    "regression": [(None, ()), (None, (1,)), (None, (4,))],
    "language_modelling": [(5, (3,))],
    "multilabel": [(None, (1,)), (None, (4,))],
}
"""Targets that each task takes: classes, and the shape of one."""
PURPOSES = [(name, *targets) for name, kinds in TASKS.items() for targets in kinds]


def task_with_data(name: str, classes: int | None, shape: tuple[int, ...]) -> tuple[Task, Tensor, Tensor]:
    part = parse({"task": {"name": name}}).task
    task = tasks.build(part, Targets(classes, shape, None, CPU))
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(12, *(shape if classes else ()), task.outputs, generator=generator)
    labels = torch.randint(0, classes or 2, (12, *shape), generator=generator)
    if name == "multilabel":
        return task, outputs, labels.float()
    return task, outputs, labels if classes else torch.randn(12, *shape, generator=generator)


def test_every_task_has_targets() -> None:
    assert sorted(TASKS) == sorted(SHIPPED["task"] - PASSED_FROM_PYTHON)


@pytest.mark.parametrize(("name", "classes", "shape"), PURPOSES)
def test_a_loss_has_one_finite_value_an_example(name: str, classes: int | None, shape: tuple[int, ...]) -> None:
    task, outputs, targets = task_with_data(name, classes, shape)
    losses = task.loss(outputs.requires_grad_(), targets)
    assert losses.shape == (12,)
    losses.mean().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


@pytest.mark.parametrize(("name", "classes", "shape"), PURPOSES)
def test_padding_changes_no_metric(name: str, classes: int | None, shape: tuple[int, ...]) -> None:
    task, outputs, targets = task_with_data(name, classes, shape)
    weight = torch.tensor([1.0] * 9 + [0.0] * 3)
    padded = measured(task, outputs, targets, weight)
    assert padded == pytest.approx(measured(task, outputs[:9], targets[:9], weight[:9]), rel=1e-6)


@pytest.mark.parametrize(("name", "classes", "shape"), PURPOSES)
def test_metrics_work_without_gradients_and_leave_their_inputs_alone(
    name: str, classes: int | None, shape: tuple[int, ...]
) -> None:
    task, outputs, targets = task_with_data(name, classes, shape)
    before = outputs.clone(), targets.clone()
    with torch.inference_mode():
        measured(task, outputs, targets, torch.ones(12))
    assert torch.equal(outputs, before[0])
    assert torch.equal(targets, before[1])
