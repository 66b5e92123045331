"""A model called with other weights than its own, which it has back afterwards, whatever it shares inside.

`torch.func.functional_call` leaves a model with the weights that it was given where one module has two names in it
(pytorch issue 164759; torch 2.13 still does): it fills the module's places twice, and the second time takes what it put
there for the model's own. Here each place is filled once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn


def functional_call(model: nn.Module, weights: Mapping[str, Tensor], args: tuple[Any, ...]) -> Any:
    """Return what the model returns for `args` with these weights, by the names of `named_parameters` and buffers.

    A tensor that has several names in the model counts under its first one. What is not in `weights` is the model's
    own; buffers that are given are written to in place, as the model writes to its own.
    """
    first = {id(value): name for name, value in (*model.named_parameters(), *model.named_buffers())}
    given = {place: weights[first[id(own)]] for place, own in _places(model) if first[id(own)] in weights}
    return torch.func.functional_call(model, given, args, tie_weights=False)  # pyright: ignore[reportUnknownMemberType]


def _places(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Every place in which a module holds a tensor, each once, with that tensor."""
    for prefix, module in cast("Iterable[tuple[str, nn.Module]]", model.named_modules()):
        parameters = module.named_parameters(recurse=False, remove_duplicate=False)
        buffers = module.named_buffers(recurse=False, remove_duplicate=False)
        for name, value in (*parameters, *buffers):
            yield f"{prefix}.{name}" if prefix else name, value
