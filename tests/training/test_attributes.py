"""What a model keeps in Python: what moves is named, what stays, or is no state, is not."""

from __future__ import annotations

import functools
import itertools
import random
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shoal.training.attributes import LOSS, MOST_ITEMS, held, kept, moved

COUNTED = {"calls": 0}


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


class Model(nn.Module):
    seen: ClassVar[list[int]] = []

    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.value = value

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs) * (1 + COUNTED["calls"])


def changed(model: nn.Module, change: Callable[[], object], function: Callable[..., Any] = loss) -> tuple[str, ...]:
    """What is told to have moved by a change; nothing has without it."""
    before = kept(model, function)
    assert moved([before, kept(model, function)]) == ()
    change()
    return moved([before, kept(model, function)])


class Plain:
    def __init__(self) -> None:
        self.count = 0


MOVING: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "a list": (lambda: [0], lambda it: it.append(1)),
    "a number in a list": (lambda: [[0]], lambda it: it[0].__setitem__(0, 1)),
    "a long list": (lambda: [0] * 10 * MOST_ITEMS, lambda it: it.append(0)),
    "a mapping": (lambda: {"n": 0}, lambda it: it.update(n=1)),
    "a deque that is full": (lambda: deque([1, 2], maxlen=2), lambda it: it.append(3)),
    "a set": (lambda: {1}, lambda it: it.add(2)),
    "an array": (lambda: np.zeros(3), lambda it: it.__setitem__(1, 1.0)),
    "a generator of NumPy's": (lambda: np.random.default_rng(0), lambda it: it.random()),
    "a generator of old": (lambda: np.random.RandomState(0), lambda it: it.rand()),
    "a generator of Python's": (lambda: random.Random(0), lambda it: it.random()),
    "a generator of torch's": (lambda: torch.Generator().manual_seed(0), lambda it: torch.rand(2, generator=it)),
    "a count": (itertools.count, next),
    "an object": (Plain, lambda it: setattr(it, "count", 1)),
}


@pytest.mark.parametrize("name", MOVING)
def test_what_moves_is_named(name: str) -> None:
    make, change = MOVING[name]
    model = nn.Sequential(Model(make()))
    assert changed(model, lambda: change(model[0].value)) == ("0.value",)


def test_what_is_put_in_the_place_of_another_is_named() -> None:
    model = Model(np.float64(1.0))
    assert changed(model, lambda: setattr(model, "value", np.float64(2.0))) == ("value",)
    assert changed(model, lambda: setattr(model, "later", 1)) == ("later",)


def test_what_goes_back_and_forth_has_moved() -> None:
    facts: list[Any] = []
    model = Model(False)
    for _ in range(3):
        model.value = not model.value
        facts.append(kept(model, loss))
    assert moved(facts) == ("value",)


def test_a_class_and_a_module_may_keep_count() -> None:
    model = Model()
    try:
        assert changed(model, lambda: Model.seen.append(1)) == ("seen",)
        assert changed(model, lambda: COUNTED.update(calls=1)) == ("forward",)
    finally:
        Model.seen.clear()
        COUNTED.update(calls=0)


def test_a_loss_may_keep_count_in_its_closure_its_attributes_and_its_arguments() -> None:
    count, calls = [0], SimpleNamespace(n=[0])

    def closed(outputs: Tensor, targets: Tensor) -> Tensor:
        count[0] += 1
        return loss(outputs, targets)

    assert changed(Model(), lambda: closed(torch.ones(1), torch.ones(1)), closed) == (LOSS,)
    assert changed(Model(), lambda: setattr(closed, "n", 1), closed) == (LOSS,)
    whole = functools.partial(loss, {"n": count})
    assert changed(Model(), lambda: count.append(1), whole) == (LOSS,)
    assert changed(Model(), lambda: calls.n.append(1), nn.MSELoss().forward) == ()  # it is not the loss's
    module = nn.MSELoss()
    assert changed(Model(), lambda: setattr(module, "calls", 1), module) == (LOSS,)


def test_tensors_weights_and_a_nan_are_no_counters() -> None:
    model = Model(float("nan"))
    model.cache, model.lists = torch.zeros(2), [torch.zeros(2)]

    def train() -> None:
        model.cache = torch.ones(2)
        model.lists[0] = torch.ones(2)
        with torch.no_grad():
            model.inner.weight.add_(1.0)
        model(torch.ones(1, 2)).sum().backward()

    assert changed(model, train) == ()


def test_a_model_that_holds_itself_is_looked_at_once() -> None:
    model = Model()
    model.value = [model, {"again": model}]
    assert changed(model, lambda: None) == ()


def test_tensors_of_the_models_own_are_told_by_their_place_and_age() -> None:
    model = Model({"h": torch.zeros(2)})
    facts, (tensor,) = held(model)
    assert tensor is model.value["h"]
    tensor.add_(1.0)
    assert moved([facts, held(model)[0]]) == ("value",)
    facts, _ = held(model)
    model.value["h"] = torch.ones(2)
    assert moved([facts, held(model)[0]]) == ("value",)
