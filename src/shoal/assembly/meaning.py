"""What a run was recorded to be, and what its recipe comes to now: where the two differ, in names and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shoal.recipe.flat import flat
from shoal.recipe.words import shown

CHANGED = {
    "dataset": "the data are not what they were",
    "init": "the weights that it starts from are not what they were",
    "frozen": "the parameters that are frozen are not the same",
    "version": "signatures are made in another way",
}
"""What a difference means that is no key of the recipe; all other digests are those of source code."""


@dataclass(frozen=True)
class Difference:
    """One part of an identity that is not what it was: `model` for its source, `model.heads` for a key of the recipe.

    `before` and `now` are a digest or the value of the key; None where there is none.
    """

    what: str
    before: Any
    now: Any
    said: str

    def plain(self) -> dict[str, Any]:
        """Return the difference as `--json` prints it."""
        return asdict(self)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return where two identities differ, as they are recorded (`recipe.canonical`): code and data, then keys.

    >>> old, new = {"recipe": {"model": {"name": "own"}}}, {"recipe": {"model": {"name": "own", "heads": 1}}}
    >>> differences(old, new)[0].said
    'model.heads is new, and 1'
    """
    then, today = flat(before), flat(now)
    return [
        _of_key(key.removeprefix("recipe."), *pair)
        if key.startswith("recipe.")
        else _of_content(key.removeprefix("digests."), *pair)
        for key, pair in _unequal(then, today).items()
    ]


def _unequal(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted({*before, *now})
    return {key: (before.get(key), now.get(key)) for key in keys if before.get(key) != now.get(key)}


def _of_content(what: str, before: Any, now: Any) -> Difference:
    return Difference(what, before, now, CHANGED.get(what, f"the source of the {what} is not what it was"))


def _of_key(what: str, before: Any, now: Any) -> Difference:
    if before is None:
        return Difference(what, before, now, f"{what} is new, and {shown(now)}")
    if now is None:
        return Difference(what, before, now, f"{what} is gone; it was {shown(before)}")
    return Difference(what, before, now, f"{what} was {shown(before)}, and is {shown(now)}")
