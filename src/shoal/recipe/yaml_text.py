"""YAML text of a recipe: a loader and a dumper that agree on what is a number.

PyYAML's own loader reads `1e-3` as text, for YAML 1.1 wants a dot in a number. Hydra's does not, nor does a person.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import yaml

from shoal.errors import RecipeError

MOST = 1_000_000
"""Characters of a recipe: reading more would take minutes."""
NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
"""A number with an exponent, with or without a dot, a sign before the digits of the exponent or none."""


class _Loader(yaml.SafeLoader):
    """The safe loader, to which `1e-3` is a number; a key that is given twice is an error, and so is an alias.

    Nine lines of aliases of aliases would stand for a billion values.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            problem = "a value is written out where it stands, not taken from elsewhere by an alias (*name)"
            event = cast(Any, self.peek_event())
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG and str(key.value) in seen:
                problem = f"the key {key.value} is given twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes text that looks like `1e-3` and writes every value out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+.0123456789"))


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """PyYAML writes these three bare, then reads them as ends of lines; in double quotes it escapes them."""
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def read(path: Path) -> bytes:
    """Return the text of a file, as far as `load` would read it; raises RecipeError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST + 1)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}.") from error


def load(text: str | bytes, where: str) -> Any:
    """Return YAML text as plain data; raises RecipeError that names `where` and the line."""
    if len(text) > MOST:
        raise RecipeError(f"{where}: it has more than {MOST:,} characters, and no recipe has as many.")
    try:
        return yaml.load(text, _Loader)  # a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        what = ": ".join(part for part in (error.context, error.problem) if part)
        raise RecipeError(
            f"{place}: this is no plain YAML: {what}. Expected lines such as 'batch_size: 32'."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise RecipeError(f"{where}: this is no plain YAML text: {str(error).splitlines()[0]}.") from error
    except RecursionError as error:
        raise RecipeError(f"{where}: the values are nested too deeply to be a recipe.") from error


def dump(data: Any) -> str:
    """Return plain data as YAML text that `load` reads back to equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
