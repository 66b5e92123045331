"""What a program measured, as columns of its history: names of metrics, and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from shoal.errors import InputError

COLUMNS = ("lr", "momentum", "weight_decay")
"""Names that stand for themselves; any other without a dot is a metric of train."""
TAKEN = ("step", "epoch")


def measured(values: Mapping[str, Any], *, lazily: bool = False) -> dict[str, Any]:
    """Return numbers by the name of their column; with `lazily`, tensors as they are.

    Raises InputError for a name that cannot be one, and for what is no number.

    >>> measured({"loss": 1, "valid.accuracy": 0.5, "lr": 0.1})
    {'train.loss': 1, 'valid.accuracy': 0.5, 'lr': 0.1}
    """
    return {_column(name): _number(name, value, lazily) for name, value in values.items()}


def _column(name: Any) -> str:
    if not isinstance(name, str) or not name or name in TAKEN or name.startswith(".") or name.endswith("."):
        raise InputError(f"{name!r} cannot name a metric: expected a text such as 'loss' or 'valid.accuracy'.")
    return name if "." in name or name in COLUMNS else f"train.{name}"


def _number(name: str, value: Any, lazily: bool) -> Any:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().reshape(()) if lazily else value.item()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "size", 0) == 1:  # of NumPy's
        return _number(name, item(), lazily)
    shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
    raise InputError(f"{name} is a {type(value).__name__}{shape}: a metric is one number, as in loss.mean().")
