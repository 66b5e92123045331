"""Settings as a person writes them in Python, as overrides of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

NAMED = ("dataset", "model", "task", "optimizer")


def overrides_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted keys: a mapping for a section changes its keys; one with a name selects an entry first.

    >>> overrides_of({"optimizer": {"name": "adamw", "lr": 0.1}, "seed": 1})
    {'optimizer': 'adamw', 'optimizer.lr': 0.1, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in changes.items():
        if isinstance(value, Mapping):
            section = cast(Mapping[str, Any], value)
            if key in NAMED and "name" in section:
                flat[key] = str(section["name"])
            named = key in NAMED
            flat.update({f"{key}.{inner}": item for inner, item in section.items() if not (named and inner == "name")})
        else:
            flat[key] = value
    return flat
