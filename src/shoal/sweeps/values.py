"""The values of one axis of a grid, as a person writes them: `1,2,3`, `log:1e-4:1:16`, `lin:0:0.5:6`.

Values of a range have six significant digits, its ends are as they were given: so a value that a table shows is the
value that was trained, and can be typed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from shoal.errors import InputError, nearest
from shoal.recipe.words import shown

DIGITS = 6
MOST = 100_000
"""Values of one range; more are a slip."""
OPENING, CLOSING = "([{", ")]}"


def log(first: float, last: float, count: int) -> list[float]:
    """Return `count` values from `first` to `last`, each the same factor from the one before.

    >>> log(1e-3, 1, 4)
    [0.001, 0.01, 0.1, 1.0]
    """
    ends = _checked("log", first, last, count)
    if min(ends) <= 0:
        raise InputError(f"log:{first:g}:{last:g}:{count}: both ends have to be above 0. lin:... takes others.")
    inner = (math.exp(math.log(ends[0]) + step * math.log(ends[1] / ends[0])) for step in _steps(count))
    return _between(ends, inner, count)


def lin(first: float, last: float, count: int) -> list[float]:
    """Return `count` values from `first` to `last`, evenly spaced.

    >>> lin(0, 0.5, 6)
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    """
    ends = _checked("lin", first, last, count)
    return _between(ends, (ends[0] + step * (ends[1] - ends[0]) for step in _steps(count)), count)


RANGES: dict[str, Callable[[float, float, int], list[float]]] = {"log": log, "lin": lin}


def texts(word: str, written: str) -> list[str]:
    """Return the values of an axis as texts, a range written out; `word` is the whole word, for messages.

    A comma within brackets or quotes belongs to a value.

    >>> texts("a=1,[2,3]", "1,[2,3]"), texts("lr=lin:0:1:3", "lin:0:1:3")
    (['1', '[2,3]'], ['0.0', '0.5', '1.0'])
    """
    found: list[str] = []
    for piece in split(written):
        kind, colon, rest = piece.partition(":")
        if not piece:
            raise InputError(f"{shown(word)}: a value is missing; expected values such as 1,2,3 or log:1e-4:1:16.")
        if colon and (kind in RANGES or (rest.count(":") == 2 and kind.isalpha())):
            found += [repr(value) for value in _range(word, kind, rest)]
        else:
            found.append(piece)
    if len(set(found)) < len(found):
        twice = next(piece for piece in found if found.count(piece) > 1)
        raise InputError(f"{shown(word)}: {twice} is there twice.")
    return found


def split(written: str) -> list[str]:
    """Split at the commas that stand in no brackets and no quotes."""
    pieces, depth, quote = [""], 0, ""
    for character in written:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += (character in OPENING) - (character in CLOSING) if not quote else 0
        if character == "," and depth <= 0 and not quote:
            pieces.append("")
        else:
            pieces[-1] += character
    return [piece.strip() for piece in pieces]


def _range(word: str, kind: str, rest: str) -> list[float]:
    expected = "expected log:FIRST:LAST:COUNT or lin:FIRST:LAST:COUNT, such as log:1e-4:1:16"
    if kind not in RANGES:
        close = nearest(kind, RANGES)
        raise InputError(f"{shown(word)}: {expected}{f'; did you mean {close}:{rest}?' if close else '.'}")
    try:
        first, last, count = rest.split(":")
        numbers = float(first), float(last), int(count)
    except ValueError:
        raise InputError(f"{shown(word)}: {expected}.") from None
    return RANGES[kind](*numbers)


def _checked(kind: str, first: float, last: float, count: int) -> tuple[float, float]:
    said = f"{kind}:{first:g}:{last:g}:{count}"
    if not (math.isfinite(first) and math.isfinite(last)):
        raise InputError(f"{said}: both ends have to be finite numbers.")
    if isinstance(count, bool) or count != int(count) or not 1 <= count <= MOST:
        raise InputError(f"{said}: how many values has to be a whole number from 1 to {MOST:,}.")
    if (first == last) != (count == 1):
        hint = "one value needs no range" if count == 1 else "its ends are the same"
        raise InputError(f"{said}: {hint}. Write the value itself.")
    return float(first), float(last)


def _steps(count: int) -> Sequence[float]:
    return [number / (count - 1) for number in range(1, count - 1)]


def _between(ends: tuple[float, float], inner: Sequence[float] | object, count: int) -> list[float]:
    if count == 1:
        return [ends[0]]
    rounded = [float(f"{value:.{DIGITS}g}") + 0.0 for value in inner]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
    return [ends[0], *rounded, ends[1]]
