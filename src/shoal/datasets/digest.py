"""Content digests: what data *are*, whatever file, compression or library they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from shoal.datasets.chunks import chunks
from shoal.datasets.examples import Examples

SPLITS = ("train", "valid", "test")
"""The names of splits, in the order in which they are hashed."""


def digest(splits: Mapping[str, Examples]) -> str:
    """Return the SHA-256 of the splits as they were given: names, dtypes, shapes and bytes in C order.

    Rows are not looked at: a valid split cut from train is described by the recipe, not by the content.
    """
    found = hashlib.sha256()
    for name in SPLITS:
        if name in splits:
            add_tensor(found, f"{name}.inputs", splits[name].inputs)
            add_tensor(found, f"{name}.targets", splits[name].targets)
    return found.hexdigest()


def add_tensor(found: hashlib._Hash, name: str, values: Tensor) -> None:  # pyright: ignore[reportPrivateUsage]
    """Hash one named tensor: a header of name, dtype and shape, then its bytes."""
    dtype, shape = str(values.dtype).removeprefix("torch."), tuple(values.shape)
    found.update(f"{name} {dtype} {shape}\n".encode())
    if values.ndim == 0:
        values = values.reshape(1)
    for _, piece in chunks(values.detach()):
        found.update(piece.contiguous().reshape(-1).view(torch.uint8).numpy().data)
