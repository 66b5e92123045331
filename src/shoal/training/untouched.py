"""A model that must not change while copies of it are tried out and measured.

A copy has the functions that the model has, and a function may hold the model itself: `self.act = lambda x: x *
self.scale` reaches the model's own parameter from every copy. What was reached is put back as it was.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoal.training.attributes import held, moved
from shoal.training.trial import NotRecordableError
from shoal.training.weights import alike


@dataclass(frozen=True)
class _Place:
    """A parameter or buffer where a module holds it, with its values and gradient as they were."""

    tree: dict[str, Tensor | None]
    path: str
    tensor: Tensor
    memory: Tensor
    values: Tensor
    gradient: Tensor | None
    gradients_version: int

    def put_back(self) -> bool:
        """Let it be what it was; return whether it had to be."""
        name, touched = self.path.rpartition(".")[2], False
        if self.tree.get(name) is not self.tensor:
            self.tree[name], touched = self.tensor, True
        if self.tensor.data_ptr() != self.memory.data_ptr():
            self.tensor.data, touched = self.memory, True
        if not alike(self.memory, self.values):
            self.memory.copy_(self.values)
            touched = True
        gradient = _gradient(self.tensor)
        if gradient is not self.gradient or (gradient is not None and gradient._version != self.gradients_version):
            self.tensor.grad, touched = self.gradient, True
        return touched


@contextmanager
def untouched(model: nn.Module) -> Generator[None]:
    """Put a model's parameters, buffers and gradients back after the block; NotRecordableError where that was needed.

    It is raised where another attribute was changed, too. An error of the block's own goes on.
    """
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    places = [
        _place(tree, f"{prefix}.{name}" if prefix else name, value)
        for prefix, module in modules
        for tree in _trees(module)
        for name, value in tree.items()
        if value is not None
    ]
    before = held(model)
    try:
        yield
    finally:
        with torch.no_grad():
            touched = [place.path for place in places if place.put_back()]
    touched += moved([before[0], held(model)[0]])
    if touched:
        raise NotRecordableError(
            f"a copy of the model reaches {touched[0]} of the model itself, by a function that holds it (a lambda, a "
            "hook or a bound method that was made in __init__)"
        )


def _trees(module: nn.Module) -> tuple[dict[str, Tensor | None], ...]:
    trees: Any = module._parameters, module._buffers  # pyright: ignore[reportPrivateUsage]
    return trees


def _place(tree: dict[str, Tensor | None], path: str, value: Tensor) -> _Place:
    gradient = _gradient(value)
    version = 0 if gradient is None else gradient._version
    return _Place(tree, path, value, value.detach(), value.detach().clone(), gradient, version)


def _gradient(tensor: Tensor) -> Tensor | None:
    return tensor.grad if tensor.is_leaf else None
