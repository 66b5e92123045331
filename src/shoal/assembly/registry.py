"""Entries of the user's own: `@shoal.model("name")` and its like, and the modules that hold them.

A decorated factory becomes an entry of its table; its annotated parameters become keys of the recipe. Nothing is
imported because a file says so: `--module NAME` does.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shoal.datasets import table as datasets
from shoal.errors import RecipeError, nearest
from shoal.files import safe_name
from shoal.models import table as models
from shoal.optim import table as optimizers
from shoal.tasks import table as tasks

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Own:
    """One entry of the user's: where it stands and what builds it."""

    kind: str
    name: str
    factory: Callable[..., Any]


OWN: dict[tuple[str, str], Own] = {}
"""Every entry of the user's, by kind and name."""


def _register(kind: str, name: str, register: Callable[[str, Any], None]) -> Callable[[F], F]:
    safe_name(name, f"the name of a {kind}")

    def decorate(factory: F) -> F:
        register(name, factory)
        OWN[kind, name] = Own(kind, name, factory)
        return factory

    return decorate


def model(name: str) -> Callable[[F], F]:
    """Register a factory of models (a function, or an nn.Module class) under a name.

    Its parameters `input_shape` and `outputs`, where it has them, are filled in from the dataset and the task; its
    other parameters become keys: `model.hidden` for `hidden: int = 32`.
    """
    return _register("model", name, models.register)


def dataset(name: str) -> Callable[[F], F]:
    """Register a factory of datasets: it returns (inputs, targets), a dict of splits of them, or Dataset objects."""
    return _register("dataset", name, datasets.register)


def task(name: str) -> Callable[[F], F]:
    """Register a factory of tasks: it returns a `shoal.tasks.Task`, or a loss function of (outputs, targets)."""
    return _register("task", name, tasks.register)


def optimizer(name: str) -> Callable[[F], F]:
    """Register a factory of optimizers: of `params` and keys such as `lr`, it returns a torch.optim.Optimizer."""
    return _register("optimizer", name, optimizers.register)


def registered(kind: str, factory: Any) -> str | None:
    """Return the name under which a factory was registered."""
    return next((own.name for own in OWN.values() if own.kind == kind and own.factory is factory), None)


def import_modules(names: Sequence[str]) -> None:
    """Import the modules named by `--module`, from the working directory or wherever Python finds them.

    Raises RecipeError for a module that is not found, that fails, or that registers nothing.
    """
    if names and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        before = len(OWN)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            close = nearest(name, [path.stem for path in Path.cwd().glob("*.py")])
            hint = f" Did you mean --module {close}?" if close else ""
            raise RecipeError(
                f"--module {name}: there is no such module in {Path.cwd()} or installed.{hint}"
            ) from error
        if len(OWN) == before and not any(
            own.factory.__module__.split(".")[0] == name.split(".")[0] for own in OWN.values()
        ):
            raise RecipeError(
                f"--module {name} registers nothing: decorate a factory in it with @shoal.model('name'), "
                "@shoal.dataset('name'), @shoal.task('name') or @shoal.optimizer('name')."
            )
