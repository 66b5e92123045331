"""The weights that count of a trained run: those that predict, are exported, and are started from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from shoal.checkpoints import newest
from shoal.errors import StoreError
from shoal.store import RunFolder


def weights_of(folder: RunFolder) -> dict[str, Tensor]:
    """Return the weights that count: the best where the run kept them, else averaged ones where it has an average, else
    the last; from the newest checkpoint that is valid."""
    loaded = newest(folder.checkpoints)
    if loaded is None:
        raise StoreError(f"{folder.label} has no checkpoint yet: train it first.")
    engine: dict[str, Any] = loaded.states["engine"]
    averaged: dict[str, Any] = engine.get("average") or {}
    return engine["best"] or averaged.get("measured") or {**engine["parameters"], **engine["buffers"]}
