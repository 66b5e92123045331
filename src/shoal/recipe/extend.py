"""Presets that extend others: what they refer to is checked, and what an exchanged part leaves behind is dropped.

Hydra merges files key by key. Where a preset with `optimizer: {name: sgd}` extends one with adamw, the merged part
would have adamw's learning rate under sgd's name. In a recipe a part whose name is changed starts from the defaults
of its new entry. So the files are read in the order in which Hydra merges them, to know which keys are still in
force; Hydra does the merging.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from shoal.errors import RecipeError, unknown
from shoal.recipe import yaml_text
from shoal.recipe.parse import PARTS, default_part
from shoal.recipe.words import shown

SELF = "_self_"
DEFAULTS = "defaults"
HYDRA = "hydra"
HEADER = re.compile(r"\s*#\s*@")
"""How a file that Hydra reads says where its values belong."""
BUDGET = "budget"
"""A section in which giving one key replaces the other."""
PLAIN_NAME = re.compile(r"(?=.{0,100}\Z)(\w[\w.-]*(/\w[\w.-]*)*)?")
"""What a defaults list may name: it never leads out of the folders that are searched."""
MOST_FILES = 100
"""Files that a preset may extend, in all; a few that name one another twice would be read a billion times."""


@dataclass
class Standing:
    """The entry that a part names so far, and the keys that were given for it."""

    name: str
    keys: set[str] = field(default_factory=lambda: set[str]())

    def take(self, given: object) -> None:
        """Take in what one more file says of the part: a name alone selects the entry with its defaults."""
        if isinstance(given, str):
            self.name, self.keys = given, set()
        elif isinstance(given, dict):
            values = cast(dict[str, Any], given)
            if values.get("name", self.name) != self.name:
                self.name, self.keys = values["name"], set()
            if self.name == BUDGET and values.keys() & {"epochs", "steps"}:
                self.keys = set()
            self.keys.update(values)


def in_force(file: Path, folders: Sequence[Path], *, part: str = "") -> dict[str, Standing]:
    """Return which keys of each part are in force once `file` and all that it extends are merged.

    `part` is the path at which the file's values stand, "" for a preset. Raises RecipeError for a file that is no
    plain YAML, or that extends one that is not there, or itself.
    """
    standings = {path: Standing(default_part(path).name) for path in PARTS} | {BUDGET: Standing(BUDGET)}
    for number, values in enumerate(_trail(file, folders, part, ())):
        if number > MOST_FILES:
            raise RecipeError(f"{file}: it extends more than {MOST_FILES} files: name each once.")
        for path, standing in standings.items():
            standing.take(_at(values, path))
    return standings


def only(standings: Mapping[str, Standing], data: dict[str, Any]) -> dict[str, Any]:
    """Return merged values without the keys of parts that are no longer in force."""
    for path, standing in standings.items():
        part = _at(data, path)
        if isinstance(part, dict):
            values = cast(dict[str, Any], part)
            kept = {key: value for key, value in values.items() if key in standing.keys}
            values.clear()
            values.update(kept if path == BUDGET else {"name": standing.name, **kept})
    return data


def _trail(file: Path, folders: Sequence[Path], part: str, above: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """The values of every file that is merged, each nested under the path at which it stands, in order of merging."""
    if file in above:
        raise RecipeError(f"{above[-1]}: its defaults list leads back to itself, by {file.name}.")
    if len(above) > MOST_FILES:
        raise RecipeError(f"{above[0]}: it extends more than {MOST_FILES} files: name each once.")
    values = _read(file)
    entries = _defaults(file, values.pop(DEFAULTS, []))
    for entry in entries if SELF in entries else [*entries, SELF]:
        if entry == SELF:
            yield _nested(values, part)
        elif isinstance(entry, str):
            group = part.replace(".", "/")
            yield from _trail(_find(entry, group, file, folders), folders, part, (*above, file))
        else:
            [(group, choice)] = entry.items()
            path = group.replace("/", ".")
            yield from _trail(_find(choice, group, file, folders), folders, path, (*above, file))


def _read(file: Path) -> dict[str, Any]:
    text = yaml_text.read(file)
    values = yaml_text.load(text, str(file))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RecipeError(f"{file}: expected a mapping of recipe keys, found {type(values).__name__}.")
    _refuse_hydra(file, text, cast(dict[Any, Any], values))
    return cast(dict[str, Any], values)


def _refuse_hydra(file: Path, text: bytes, values: Mapping[Any, Any]) -> None:
    """Hydra is for merging: what would set it up, or have it look values up elsewhere, is none of a recipe's."""
    if HYDRA in values:
        raise RecipeError(f"{file}: unknown key {HYDRA}: a recipe has keys of Shoal's only, see 'shoal schema'.")
    if HEADER.match(text.decode("utf-8", "replace")):
        raise RecipeError(f"{file}: it begins with a package for Hydra (# @package): a recipe is read where it stands.")
    for path, value in _leaves(values, ""):
        if isinstance(value, str) and "${" in value:
            raise RecipeError(f"{file}: {path} = {shown(value)}: nothing is looked up: write the value itself.")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in cast(dict[Any, Any], value).items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(cast(list[Any], value)):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _defaults(file: Path, entries: Any) -> list[str | dict[str, str]]:
    """A defaults list, which may name presets, groups and `_self_`; the rest of Hydra's grammar is refused."""
    expected = (
        "expected a list such as 'defaults: [mnist_cnn, _self_]', of presets, or of groups as in 'optimizer: fast'"
    )
    if not isinstance(entries, list):
        raise RecipeError(f"{file}: defaults = {shown(entries)}: {expected}.")
    checked: list[str | dict[str, str]] = []
    for entry in cast(list[Any], entries):
        items = [*cast(dict[Any, Any], entry).items()] if isinstance(entry, dict) else [("", entry)]
        words = [word for item in items for word in item]
        if len(items) != 1 or not all(isinstance(word, str) and PLAIN_NAME.fullmatch(word) for word in words):
            raise RecipeError(f"{file}: defaults: {shown(cast(Any, entry))}: {expected}.")
        checked.append(cast("str | dict[str, str]", entry))
    return checked


def _find(name: str, group: str, file: Path, folders: Sequence[Path]) -> Path:
    places = [folder / group for folder in folders]
    for place in places:
        if (found := place / f"{name}.yaml").is_file():
            return found
    known = {path.stem for place in places for path in place.glob("*.yaml")}
    raise RecipeError(f"{file}: defaults: {unknown(group or 'preset', name, known)}")


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        data = cast(dict[str, Any], data).get(name) if isinstance(data, dict) else None
    return data


def _nested(values: dict[str, Any], path: str) -> dict[str, Any]:
    for name in reversed(path.split(".") if path else []):
        values = {name: values}
    return values
