"""Identity: which recipes are the same experiment.

A signature is 128 bits of SHA-256 over the canonical form: nested plain data from which every field is absent that is
not part of identity, or that has its frozen identity value. So a new field does not change old signatures, and an
edited default does not move a run under another meaning. The seed is left out: experiment and seed make a run.
What data and user's code *are* (content and source digests) is passed in, never read from a path.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from shoal.recipe.fields import ALWAYS, NEVER, Part, marks
from shoal.recipe.schema import Recipe

VERSION = 1
PREFIX = 12
"""Hex digits of a signature that folders and screens show."""


def canonical(recipe: Recipe, digests: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the canonical form of a recipe's experiment: what its signature is made of.

    `digests` names content that the recipe refers to: `{"dataset": ..., "model": ...}`.
    """
    form: dict[str, Any] = {"version": VERSION, "recipe": _canonical(recipe)}
    if digests:
        form["digests"] = dict(sorted(digests.items()))
    return form


def signature(recipe: Recipe, digests: Mapping[str, str] | None = None) -> str:
    """Return the 32 hex digits that identify an experiment."""
    return of_form(canonical(recipe, digests))


def of_form(form: Mapping[str, Any]) -> str:
    """Return the signature of a canonical form, as a record has it too."""
    text = json.dumps(form, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _canonical(settings: BaseModel) -> dict[str, Any]:
    form: dict[str, Any] = {}
    if isinstance(settings, Part):
        form["name"] = settings.name
    for name, field in type(settings).model_fields.items():
        if name == "name" and isinstance(settings, Part):
            continue
        known = marks(field)
        if known.identity is NEVER:
            continue
        value = _plain(getattr(settings, name))
        if known.identity is ALWAYS or value != _plain(known.identity):
            form[name] = value
    return form


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _canonical(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
