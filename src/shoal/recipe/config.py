"""The config of any program: as plain data, and what of it says which experiment it is.

A program of the user's is identified by its name, its config and the source it names, as a recipe is by its keys: 128
bits of SHA-256 over a canonical form, from which the name, the seed and what was excluded are absent. One meaning has
one form: 1 and 1.0 agree, `{"optimizer": {"lr": 1}}` and `{"optimizer.lr": 1}` agree, order does not matter; True is
no 1.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any, cast

from pydantic import BaseModel

from shoal.errors import RecipeError, nearest
from shoal.recipe.flat import flat
from shoal.recipe.signature import VERSION

OWN = ("name", "seed")
"""Keys at the top that name a run, and are no part of the experiment."""


def plain(config: Any) -> dict[str, Any]:
    """Return a config as nested plain data.

    config: a mapping, a dataclass, a pydantic model or an argparse.Namespace, nested as one likes. Raises RecipeError
    that names the key of what is no plain value.

    >>> plain(Namespace(lr=0.1, layers=(64, 64)))
    {'lr': 0.1, 'layers': [64, 64]}
    """
    fields = _fields(config)
    if fields is None:
        raise RecipeError(
            f"config: expected a mapping, a dataclass, a pydantic model or an argparse.Namespace, found a "
            f"{type(config).__name__}. Pass what distinguishes this run: {{'lr': 0.1, 'seed': 0}}."
        )
    data = cast(dict[str, Any], _plain(fields, ""))
    keys = list(_dotted(data, ""))
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise RecipeError(f"config: {twice} is given twice, nested and with a dot. Leave one of them out.")
    return data


def seed_of(config: Mapping[str, Any]) -> int:
    """Return the seed of a plain config, 0 where it has none; raises RecipeError for what can be none."""
    seed = config.get("seed", 0)
    whole = int(seed) if isinstance(seed, float) and seed.is_integer() else seed
    if type(whole) is not int or not 0 <= whole < 2**63:
        raise RecipeError(f"seed = {seed!r}: expected a whole number from 0 to 2**63 - 1.")
    return whole


def identity(
    config: Mapping[str, Any], *, program: str, exclude: Iterable[str] = (), digests: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the canonical form of what a program does under a plain config: what its signature is made of.

    `exclude` are patterns of keys that do not change the result: `data_dir`, `log.*`. Raises RecipeError for one that
    means no key.

    >>> identity({"lr": 1.0, "log": {"every": 5}, "seed": 3}, program="gan", exclude=["log"])["recipe"]
    {'lr': 1}
    """
    values = {key: value for key, value in flat(config).items() if key not in OWN}
    left_out = {key for pattern in _patterns(exclude) for key in _meant(pattern, values)}
    kept = {key: _canonical(value) for key, value in sorted(values.items()) if key not in left_out}
    form: dict[str, Any] = {"version": VERSION, "program": program, "recipe": kept}
    if digests:
        form["digests"] = dict(sorted(digests.items()))
    return form


def signature(identity: Mapping[str, Any]) -> str:
    """Return the 32 hex digits that identify an experiment."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """What has named fields, as a mapping of them."""
    if isinstance(value, Mapping):
        return cast(Mapping[Any, Any], value)
    if isinstance(value, BaseModel):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return vars(value) if isinstance(value, Namespace) else None


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if (item := cast("Callable[[], Any] | None", getattr(value, "item", None))) and getattr(value, "ndim", None) == 0:
        value = item()  # a scalar of NumPy's or torch's
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | str):  # what derives from them is written as they are
        return int(value) if isinstance(value, int) else str(value)
    if isinstance(value, float):
        return _finite(value, where)
    if isinstance(value, PurePath):
        return str(value)
    fields = _fields(value)
    if fields is not None:
        return {_key(key, where): _plain(item, f"{where}.{key}" if where else str(key)) for key, item in fields.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        items = cast(Sequence[Any], value)
        return [_plain(item, f"{where}[{number}]") for number, item in enumerate(items)]
    raise RecipeError(
        f"config: {where} is a {type(value).__name__}, which cannot be written down: a config has numbers, texts, "
        "true and false, null, and lists and mappings of those. Put its name there (or its settings), and make the "
        "object from that."
    )


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise RecipeError(f"config: {where} = {value}: expected a finite number. Say it as a text, or None.")
    return value


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        place = f" in {where}" if where else ""
        raise RecipeError(f"config: the key {key!r}{place} is no text. Write {str(key)!r}.")
    return key


def _dotted(config: Mapping[str, Any], above: str) -> Iterable[str]:
    """Every dotted key as often as it is given."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(cast(Mapping[str, Any], value), f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in sorted(cast(dict[str, Any], value).items())}
    return value


def _patterns(exclude: Iterable[str]) -> Sequence[str]:
    if isinstance(exclude, str):
        raise RecipeError(f"exclude = {exclude!r}: expected a list of patterns, [{exclude!r}].")
    return list(exclude)


def _meant(pattern: str, keys: Iterable[str]) -> list[str]:
    """The keys that a pattern means; a name stands for itself and for all below it."""
    known = list(keys)
    meant = [key for key in known if fnmatchcase(key, pattern) or key.startswith(f"{pattern}.")]
    if not meant and pattern not in OWN:
        close = nearest(pattern, known)
        hint = f"did you mean {close!r}? " if close else ""
        raise RecipeError(
            f"exclude = {pattern!r}: it matches no key of the config: {hint}There are: {', '.join(known) or 'none'}. "
            "A pattern that matches nothing excludes nothing, and the run would be another one than was meant."
        )
    return meant
