"""The table of datasets: which builder stands behind each name that a recipe can give."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from shoal.datasets import arrays, cifar10, digits, idx, image_folder, tabular, text
from shoal.datasets.examples import Data
from shoal.datasets.objects import from_objects
from shoal.datasets.tokens import recorded
from shoal.errors import DataError, unknown
from shoal.recipe.own import declare
from shoal.recipe.parts import DatasetPart, PlainText, Table

Builder = Callable[[DatasetPart], Data]


def _passed_from_python(part: DatasetPart) -> Data:
    raise DataError(
        f"dataset.name = {part.name}: such a dataset is an object that is passed from Python, as in "
        "shoal.train(dataset=my_dataset); pass it again, or register a factory for it with --module."
    )


BUILDERS: dict[str, Builder] = {
    "digits": digits.build,
    "idx": idx.build,
    "arrays": arrays.build,
    "table": tabular.build,
    "text": text.build,
    "image_folder": image_folder.build,
    "cifar10": cifar10.build,
    "map_style": _passed_from_python,
    "stream": _passed_from_python,
}


def build(part: DatasetPart, *, task: str = "", encoding: Mapping[str, Any] | None = None) -> Data:
    """Return the data that a recipe's `dataset` part describes; raises DataError for what cannot be trained on.

    The columns of a table depend on the recipe's task. With the `encoding` of a trained run, a table has its columns
    and a text its tokens.
    """
    try:
        return _built(part, task, encoding)
    except MemoryError as error:
        where = part.name if part.path is None else f"{part.name} at {part.path}"
        raise DataError(
            f"there is not enough memory for the dataset {where} ({str(error) or 'none is left'}). Give less of it, or "
            "free some memory."
        ) from error


def _built(part: DatasetPart, task: str, encoding: Mapping[str, Any] | None) -> Data:
    if part.name not in BUILDERS:
        raise DataError(unknown("dataset", part.name, BUILDERS) + " An entry of your own comes with --module MODULE.")
    if isinstance(part, Table):
        return tabular.build(tabular.for_task(part, task), encoding)
    if isinstance(part, PlainText) and encoding is not None:
        return text.build(part, recorded(encoding))
    return BUILDERS[part.name](part)


def register(name: str, factory: Callable[..., Any]) -> None:
    """Add a user's factory under a name; its annotated parameters become keys of the recipe.

    It is called with those fields of its part that it has as parameters, and returns what `from_objects` takes.
    """
    declare("dataset", name, factory, supplied=())
    parameters = inspect.signature(factory).parameters

    def builder(part: DatasetPart) -> Data:
        fields = {
            field: getattr(part, field) for field in type(part).model_fields if field in parameters and field != "name"
        }
        return from_objects(factory(**fields), part)

    BUILDERS[name] = builder
