"""Shoal trains PyTorch networks, one or a whole shoal of them, and never loses or repeats a run.

Names are imported when they are first used: `import shoal` costs nothing, and the command line answers at once.

>>> import shoal
>>> shoal.Recipe().batch_size
32
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.api import Metric, Run, Task, compare, dataset, load, model, open_run, optimizer, runs, task, text, train
    from shoal.errors import ShoalError
    from shoal.recipe import Recipe
    from shoal.recipe.compose import compose
    from shoal.sweeps.values import lin, log

    __version__: str

__all__ = [
    "Metric",
    "Recipe",
    "Run",
    "ShoalError",
    "Task",
    "__version__",
    "compare",
    "compose",
    "dataset",
    "lin",
    "load",
    "log",
    "model",
    "open_run",
    "optimizer",
    "runs",
    "task",
    "text",
    "train",
]

_ELSEWHERE = {
    "Recipe": "shoal.recipe",
    "ShoalError": "shoal.errors",
    "compose": "shoal.recipe.compose",
    "lin": "shoal.sweeps.values",
    "log": "shoal.sweeps.values",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'shoal' has no attribute {name!r}")
    value = _version() if name == "__version__" else getattr(import_module(_ELSEWHERE.get(name, "shoal.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _version() -> str:
    metadata = import_module("importlib.metadata")
    try:
        return str(metadata.version("shoal"))
    except metadata.PackageNotFoundError:  # the source, on the path and not installed
        return "unknown"
