"""A model's weights by name, copied in and out, and its modes: what training, evaluation and a loop by hand share."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from shoal.errors import CheckpointError


def persistent_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers that belong to a model's state: caches, registered with persistent=False, do not."""
    for name, value in model.named_buffers():
        path, _, last = name.rpartition(".")
        if last not in model.get_submodule(path)._non_persistent_buffers_set:  # pyright: ignore[reportPrivateUsage]
            yield name, value


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and persistent buffers by name; a shared one once, under its first name."""
    return {**dict(model.named_parameters()), **dict(persistent_buffers(model))}


def load_weights(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy parameters and buffers by name; raises CheckpointError, and changes none, where names or shapes differ."""
    own = weights_of(model)
    missing, extra = sorted(set(own) - set(saved)), sorted(set(saved) - set(own))
    if missing or extra:
        raise CheckpointError(
            "the saved weights are those of another model: "
            f"missing {', '.join(missing) or 'nothing'}, left over {', '.join(extra) or 'nothing'}."
        )
    for name, value in own.items():
        if value.shape != saved[name].shape:
            raise CheckpointError(
                f"{name} is {tuple(value.shape)} in the model and {tuple(saved[name].shape)} as saved."
            )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])


def alike(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors have the same values; NaN is like itself."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if torch.equal(first, second):
        return True
    return bool(((first == second) | ((first != first) & (second != second))).all())


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Put a model into eval mode and back; what was in eval mode before (a frozen norm, say) stays there."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
