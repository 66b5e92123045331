"""State as tensors and plain values, in one canonical form, checked when it is saved.

What `weights_only=True` would refuse to load is refused here, naming its key, while the run that made it still lives.
Equal states give equal bytes, whatever their history: pickle writes an object that it meets again as a reference, and a
tensor with the whole memory that it is a view of. So tensors are compact copies on the CPU, texts are interned, and
containers are new.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from shoal.errors import CheckpointError

PLAIN = (bool, int, float, type(None))
LONGEST = 8 * 255 - 1
"""Bits of a whole number: what is longer is pickled in a form that torch does not load."""


def plain(value: Any, path: str = "state") -> Any:
    """Return `value` in canonical form; raises CheckpointError naming the key of anything that is not plain."""
    copy = enqueued(value, path)
    for device in gpus(value):
        torch.cuda.synchronize(device)
    return copy


def enqueued(value: Any, path: str = "state") -> Any:
    """Return `value` in canonical form; copies from a GPU are on their way, and there once it has done its work."""
    if isinstance(value, Tensor):
        return _compact(value, path)
    if type(value) in PLAIN:
        return _short(value, path)
    if type(value) is str:
        return sys.intern(value)
    if isinstance(value, Mapping):
        return {
            _key(key, path): enqueued(item, f"{path}.{key}") for key, item in cast(Mapping[Any, Any], value).items()
        }
    if type(value) in (list, tuple):
        return [enqueued(item, f"{path}[{index}]") for index, item in enumerate(cast(list[Any], value))]
    raise CheckpointError(
        f"{path} is a {type(value).__module__}.{type(value).__qualname__}, which a checkpoint cannot hold: "
        "keep state as tensors, numbers, texts, lists and dicts (float(x) for a NumPy scalar, str(p) for a path)."
    )


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in a state."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in cast(Mapping[Any, Any], value).values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in cast(list[Any], value):
            yield from tensors_in(item)


def size_of(value: Any) -> int:
    """Return the bytes of all tensors in a state."""
    return sum(tensor.nbytes for tensor in tensors_in(value))


def gpus(value: Any) -> set[torch.device]:
    """Return the GPUs on which a state has tensors."""
    return {tensor.device for tensor in tensors_in(value) if tensor.device.type == "cuda"}


def _key(key: Any, path: str) -> Any:
    if type(key) is str:
        return sys.intern(key)
    if type(key) is int:
        return _short(key, path)
    raise CheckpointError(f"{path} has the key {key!r} of type {type(key).__qualname__}: expected a text or an int.")


def _short(value: Any, path: str) -> Any:
    if type(value) is int and value.bit_length() > LONGEST:
        raise CheckpointError(
            f"{path} has a whole number of {value.bit_length():,} bits, and a checkpoint holds {LONGEST:,} at most: "
            "keep it as a text, hex(x)."
        )
    return value


def _compact(value: Tensor, path: str) -> Tensor:
    """A contiguous copy on the CPU with a storage of just its size (a view would drag its whole storage along)."""
    tensor = value.detach()
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "meta" if tensor.is_meta else str(tensor.dtype if tensor.is_quantized else tensor.layout)
        raise CheckpointError(f"{path} is a {kind} tensor, which a checkpoint cannot hold: make it dense before.")
    gpu = tensor.device.type == "cuda"
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=gpu)
    return copy.copy_(tensor, non_blocking=gpu)  # enqueued, before whatever training enqueues next
