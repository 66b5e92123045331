"""The table of tasks: a user's own entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shoal.errors import RecipeError
from shoal.recipe import parse
from shoal.recipe.parts import ExternalTask
from shoal.tasks import Targets, Task, build, register, usual

CPU = torch.device("cpu")
FACTS: dict[str, Any] = {"classes": 3, "target_shape": (), "class_counts": (5, 6, 7), "device": CPU}


def built(task: Any, **facts: Any) -> Task:
    return build(parse({"task": task}).task, Targets(**{**FACTS, **facts}))


def test_a_factory_of_a_loss_gets_its_keys_and_the_usual_metrics() -> None:
    def scaled(scale: float = 2.0) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda outputs, targets: scale * nn.functional.cross_entropy(outputs, targets, reduction="none")

    register("scaled", scaled)
    task = built({"name": "scaled", "scale": 3})
    outputs, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(task.loss(outputs, targets), 3 * usual(Targets(**FACTS)).loss(outputs, targets))
    assert set(task.metrics) == {"accuracy"}
    assert task.outputs == 3


def test_a_factory_of_a_task_gets_what_is_known_of_the_targets() -> None:
    def whole(classes: int, target_shape: tuple[int, ...], class_counts: Sequence[int], device: torch.device) -> Task:
        assert (target_shape, class_counts, device) == ((), (5, 6, 7), CPU)
        return Task(outputs=2 * classes, loss=nn.CrossEntropyLoss(), metrics={})

    register("whole", whole)
    assert built("whole").outputs == 6


def test_real_valued_targets_usually_mean_regression() -> None:
    register("own", lambda: nn.MSELoss())
    task = built("own", classes=None, target_shape=(4,), class_counts=None)
    assert set(task.metrics) == {"mse", "mae", "r2"}
    assert task.outputs == 4


@pytest.mark.parametrize("returned", [None, 0.5, torch.zeros(())])
def test_a_factory_that_returns_neither_is_refused(returned: Any) -> None:
    register("wrong", lambda: returned)
    with pytest.raises(RecipeError, match=rf"its factory returned {type(returned).__name__}: expected a shoal Task"):
        built("wrong")


def test_a_task_passed_from_python_has_to_be_passed_again() -> None:
    with pytest.raises(RecipeError, match=r"task\.name = external: .* Pass it again, as in loss=function"):
        build(ExternalTask(source="notebook.loss"), Targets(**FACTS))
