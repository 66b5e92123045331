"""What a recipe cannot say: objects passed from Python, and the parts that stand for them in the recipe.

A part records an object's qualified name; the name is never imported. Data are identified by content, code by its
source, both in the digests beside the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch.utils.data import Dataset, IterableDataset

from shoal.assembly.registry import registered
from shoal.assembly.source import qualified_name
from shoal.datasets import Data, Stream
from shoal.errors import RecipeError
from shoal.recipe.fields import Part

SPLITS = {"train", "valid", "test"}


@dataclass(frozen=True)
class Objects:
    """Objects that take the place of named parts."""

    dataset: Any = None
    model: Callable[..., Any] | None = None
    loss: Callable[..., Any] | None = None


def from_python(
    *, dataset: Any = None, model: Any = None, task: Any = None, loss: Any = None, optimizer: Any = None
) -> tuple[dict[str, Any], Objects]:
    """Split what a person passed into parts of a recipe (names, mappings) and objects.

    Returns the parts by key, `{"model": {"name": "external", "source": "my.Net"}}`, and the objects.
    """
    parts: dict[str, Any] = {}
    held: dict[str, Any] = {}
    for key, value in (("model", model), ("task", task), ("optimizer", optimizer)):
        if value is None:
            continue
        name = registered(key, value) if callable(value) else None
        if _is_part(value) or name:
            parts[key] = name or value
        elif key == "model":
            parts[key], held[key] = {"name": "external", "source": qualified_name(value, "model")}, value
        else:
            qualified_name(value, key)
            parts[key] = _unregistered(key, value)
    if loss is not None:
        held["loss"] = loss
        qualified_name(loss, "loss")
    if dataset is not None:
        if _is_part(dataset) and not _is_splits(dataset):
            parts["dataset"] = dataset
        else:
            said = dataset.part if isinstance(dataset, Data) else None
            parts["dataset"], held["dataset"] = said or {"name": _kind(dataset)}, dataset
    return parts, Objects(**held)


def _is_part(value: Any) -> bool:
    return isinstance(value, str | Mapping | Part)


def _is_splits(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(SPLITS & set(cast(Mapping[str, Any], value)))


def _kind(source: Any) -> str:
    """The dataset entry that stands for objects: arrays in memory, a map-style Dataset, or a stream."""
    if isinstance(source, Data):
        source = source.splits["train"]
    if _is_splits(source):
        source = source.get("train", next(iter(source.values())))
    if isinstance(source, Stream | IterableDataset):
        return "stream"
    return "map_style" if isinstance(source, Dataset) else "arrays"


def _unregistered(key: str, value: Any) -> str:
    named = getattr(value, "__qualname__", repr(value))
    alone = f" To replace the loss alone, pass loss={named}." if key == "task" else ""
    raise RecipeError(
        f"{key}={named}: your own {key} needs a name: decorate it, or a function that returns it, with "
        f"@shoal.{key}('my-{key}') and pass {key}='my-{key}'.{alone}"
    )
