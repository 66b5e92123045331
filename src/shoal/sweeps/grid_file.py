"""A grid as a Python file: a function that yields what each run has beside the base.

    base = "digits_mlp"                     # a preset, a shoal.Recipe, or a mapping of keys; optional

    def grid():
        for lr in shoal.log(1e-3, 1, 7):
            for width in (32, 64):
                if lr * width < 40:
                    yield {"optimizer.lr": lr, "model.width": width}

The function is `grid`, or the only one of the file, or the one that is named: `grid.py:wide`. It yields mappings of
overrides, words (`["optimizer.lr=0.1"]`), or whole recipes.
"""

from __future__ import annotations

import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

from shoal.errors import InputError, ShoalError, nearest
from shoal.files import expanded
from shoal.recipe import Recipe
from shoal.recipe.compose import override
from shoal.recipe.words import shown
from shoal.sweeps.grid import Overrides
from shoal.sweeps.points import between

FUNCTION = "grid"


@runtime_checkable
class SupportsItem(Protocol):
    """A number of NumPy's or torch's."""

    def item(self) -> Any:
        """Return it as one of Python's."""
        ...


@dataclass(frozen=True)
class GridFile:
    """What a file said: its name, its base (None: it has none), and a function that yields points."""

    name: str
    base: str | Recipe | Mapping[str, Any] | None
    function: Callable[[], object]
    path: Path

    def points(self, base: Recipe) -> Iterator[Overrides]:
        """Yield the overrides of each point; raises InputError with the file's line where it fails."""
        count = 0
        with _told(self.path):
            yielded = iter(self._called())
        while True:
            with _told(self.path), redirect_stdout(sys.stderr):
                item = next(yielded, self)  # what ends it is no point
            if item is self:
                break
            count += 1
            yield self._overrides(item, base, count)
        if not count:
            raise InputError(f"{self.path}: {self._named} yielded nothing: expected overrides, as in yield {{...}}.")

    @property
    def _named(self) -> str:
        return f"{getattr(self.function, '__name__', FUNCTION)}()"

    def _called(self) -> Iterable[Any]:
        found: Any = self.function()
        if isinstance(found, str | bytes) or not isinstance(found, Iterable):
            raise InputError(
                f"{self.path}: {self._named} returned {shown(cast(object, found))}: expected points: yield them, or "
                "return a list."
            )
        return cast(Iterable[Any], found)

    def _overrides(self, item: Any, base: Recipe, number: int) -> Overrides:
        if isinstance(item, Recipe):
            return between(base, item)
        if isinstance(item, Mapping):
            return dotted(cast(Mapping[str, Any], item))
        words = [item] if isinstance(item, str) else item
        if isinstance(words, list | tuple) and all(isinstance(word, str) for word in cast(list[Any], words)):
            return dict(override(word) for word in cast(list[str], words))
        raise InputError(
            f"{self.path}: point {number} of {self._named} is {shown(item)}: expected a mapping of overrides such as "
            "{'optimizer.lr': 0.1}, words such as ['optimizer.lr=0.1'], or a shoal.Recipe."
        )


def is_grid_file(word: str) -> bool:
    """Return whether a word of a command line names a grid file: `grid.py`, `grids/wide.py:narrow`."""
    return "=" not in word and word.partition(":")[0].endswith(".py")


def load(word: str) -> GridFile:
    """Return the grid of a file, named as `FILE.py` or `FILE.py:FUNCTION`; raises InputError for what is none."""
    file, _, wanted = word.partition(":")
    path = expanded(file)
    if not path.is_file():
        there = [each.name for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        close = nearest(path.name, there)
        raise InputError(f"there is no grid file {file!r}.{f' Did you mean {path.with_name(close)}?' if close else ''}")
    module = _executed(path)
    base: Any = getattr(module, "base", None)
    if not (base is None or isinstance(base, str | Recipe | Mapping)):
        raise InputError(
            f"{path}: base is {shown(base)}: expected a preset's name, a shoal.Recipe or a mapping of keys."
        )
    return GridFile(path.stem, cast(Any, base), _function(module, path, wanted), path)


def dotted(values: Mapping[str, Any], above: str = "") -> Overrides:
    """Return a mapping, nested or dotted, under dotted keys; a part's `name` comes before its other keys."""
    found = Overrides()
    for key in sorted(values, key=lambda key: key != "name") if above else values:
        value = values[key]
        if isinstance(value, Mapping):
            found |= dotted(cast(Mapping[str, Any], value), f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value.item() if isinstance(value, SupportsItem) else value
    return found


def _executed(path: Path) -> ModuleType:
    name = f"shoal_grid_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # it may import what lies beside it, as a script may, now and within its functions
    sys.modules[name] = module  # dataclasses look for it there
    with _told(path), redirect_stdout(sys.stderr):  # what it prints is no result
        spec.loader.exec_module(module)
    return module


def _function(module: ModuleType, path: Path, wanted: str) -> Callable[[], object]:
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    name = wanted or (FUNCTION if FUNCTION in own or len(own) != 1 else next(iter(own)))
    if name not in own:
        there = f" It has: {', '.join(own)}; choose one with {path}:NAME." if own else ""
        raise InputError(f"{path}: it has no function {name}(): expected one that yields overrides.{there}")
    parameters = inspect.signature(own[name]).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        raise InputError(f"{path}: {name}() is called without arguments, and it needs {', '.join(needed)}.")
    return own[name]


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Turn what the file raises into an error that shows its line."""
    try:
        yield
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        text = f": {error.text.strip()}" if error.text else ""
        raise InputError(f"{error.filename or path}{line}: {error.msg}{text}") from error
    except ShoalError as error:
        raise InputError(f"{_place(path, error)}{error}") from error
    except Exception as error:
        raise InputError(f"{_place(path, error)}{type(error).__name__}: {error}") from error


def _place(path: Path, error: BaseException) -> str:
    """The last line of the file itself that was being executed."""
    here = path.resolve()
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() == here]
    if not own:
        return "" if isinstance(error, ShoalError) else f"{path}: "
    line = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip()
    return f"{path}, line {own[-1].lineno}: {line}\n"
