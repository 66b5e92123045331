"""The weights that count of a trained run: those that predict, are exported, and are started from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from shoal.checkpoints import newest
from shoal.errors import StoreError
from shoal.store import RunFolder


def weights_of(folder: RunFolder) -> dict[str, Tensor]:
    """Return the best weights where the run kept them, else the last ones; from the newest checkpoint that is valid."""
    loaded = newest(folder.checkpoints)
    if loaded is None:
        raise StoreError(f"{folder.label} has no checkpoint yet: train it first.")
    engine: dict[str, Any] = loaded.states["engine"]
    return engine["best"] or {**engine["parameters"], **engine["buffers"]}
