"""From words to points: which overrides each run of a grid has. Nothing is looked up or trained here.

An axis is a key with values. Axes are crossed, in the order in which they were said, the last varies fastest; `--zip`
moves several together; `--if` adds axes where a condition holds; `--without` leaves points out. Seeds come last.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from shoal.errors import InputError
from shoal.recipe.compose import override
from shoal.recipe.words import shown
from shoal.sweeps.values import texts

MOST = 100_000
"""Points of one grid."""
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(rf"(?P<key>[^\s<>=!]+)\s*(?P<sign>{'|'.join(SIGNS)})\s*(?P<value>.+)")

Overrides = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """A key and the values it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Condition:
    """`optimizer=sgd`, `model.width>=64`: whether a point is meant, by what was said of it."""

    key: str
    sign: str
    value: Any

    def holds(self, point: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
        """Return whether it holds of a point, and of the base where the point says nothing of the key."""
        spelt = (self.key, f"{self.key}.name", self.key.removesuffix(".name"))
        for values in (point, base):
            for key in spelt:
                if key in values:
                    return self._compared(values[key])
        return False

    def _compared(self, value: Any) -> bool:
        try:
            return SIGNS[self.sign](value, self.value)
        except TypeError:  # a text and a number
            return False


@dataclass(frozen=True)
class Grid:
    """A grid as it was said."""

    axes: tuple[tuple[Axis, ...], ...] = ()
    """Groups that are crossed; the axes of one group move together."""
    conditional: tuple[tuple[Condition, tuple[Axis, ...]], ...] = ()
    without: tuple[tuple[Condition, ...], ...] = ()
    seeds: tuple[int, ...] = ()
    fixed: Overrides = field(default_factory=dict[str, Any])
    """What all points have."""

    @property
    def size(self) -> int:
        """How many points it has at most, where conditions add none."""
        return math.prod(len(group[0].values) for group in self.axes) * max(1, len(self.seeds))

    def points(self, base: Mapping[str, Any]) -> Iterator[Overrides]:
        """Yield the overrides of each point; `base` has the dotted keys that conditions may ask for.

        Raises InputError for more than MOST.
        """
        if self.size > MOST:
            raise InputError(f"the grid has {self.size:,} points, more than {MOST:,}: is a range too fine?")
        for said in self._said(base):
            for point in [{**said, "seed": seed} for seed in self.seeds] if self.seeds else [said]:
                if not any(all(each.holds(point, base) for each in together) for together in self.without):
                    yield point

    def _said(self, base: Mapping[str, Any]) -> Iterator[Overrides]:
        for point in crossed(self.fixed, self.axes):
            more = [axis for condition, axes in self.conditional if condition.holds(point, base) for axis in axes]
            yield from crossed(point, [(axis,) for axis in more])


def crossed(point: Overrides, groups: Iterable[Sequence[Axis]]) -> Iterator[Overrides]:
    """Yield the point with every combination of the groups' values."""
    choices = [[dict(zip([axis.key for axis in group], row, strict=True)) for row in _rows(group)] for group in groups]
    for chosen in product(*choices):
        whole = dict(point)
        for one in chosen:
            whole |= one
        yield whole


def axis(word: str) -> Axis:
    """Read `KEY=V1,V2,...`; a word with one value is an axis of one."""
    key, equals, written = word.partition("=")
    if not equals or not key:
        raise InputError(f"{shown(word)}: expected KEY=V1,V2,..., such as optimizer.lr=0.01,0.1.")
    return Axis(key, tuple(override(f"{key}={text}")[1] for text in texts(word, written)))


def condition(text: str) -> Condition:
    """Read `KEY SIGN VALUE`."""
    match = CONDITION.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{shown(text)}: expected a condition such as optimizer=sgd or 'model.width>=64'.")
    return Condition(match["key"], match["sign"], override(f"{match['key']}={match['value']}")[1])


def of_words(
    words: Sequence[str],
    *,
    zipped: Sequence[Sequence[str]] = (),
    conditional: Sequence[Sequence[str]] = (),
    without: Sequence[Sequence[str]] = (),
    seeds: int | None = None,
) -> Grid:
    """Return the grid that a command line describes.

    `words` are KEY=VALUES, crossed; each of `zipped` the axes that move together; each of `conditional` a condition
    and the axes that it adds; each of `without` the conditions that leave a point out where all of them hold.
    """
    single, groups = list[Axis](), list[tuple[Axis, ...]]()
    for each in map(axis, words):
        single.append(each) if len(each.values) == 1 else groups.append((each,))
    for together in zipped:
        groups.append(_together([axis(word) for word in together]))
    added = tuple((condition(said), tuple(map(axis, more))) for said, *more in conditional)
    for said, *more in conditional:
        if not more:
            raise InputError(f"--if {said}: expected what it adds: --if {said} KEY=V1,V2.")
    _once([*single, *(one for group in groups for one in group)])
    return Grid(
        tuple(groups),
        added,
        tuple(tuple(map(condition, together)) for together in without),
        _seeds(seeds, groups, single),
        {each.key: each.values[0] for each in single},
    )


def _together(axes: list[Axis]) -> tuple[Axis, ...]:
    if len(axes) < 2:
        raise InputError("--zip: expected two axes or more that move together: --zip a=1,2 b=3,4.")
    lengths = {len(each.values) for each in axes}
    if len(lengths) > 1:
        said = ", ".join(f"{each.key} has {len(each.values)}" for each in axes)
        raise InputError(f"--zip: axes that move together have as many values each: {said}.")
    return tuple(axes)


def _once(axes: Sequence[Axis]) -> None:
    keys = [each.key for each in axes]
    twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice: write all of its values behind one {twice}=.")


def _seeds(count: int | None, groups: Iterable[Sequence[Axis]], single: Iterable[Axis]) -> tuple[int, ...]:
    if count is None:
        return ()
    if any(each.key == "seed" for each in [*single, *(one for group in groups for one in group)]):
        raise InputError(f"--seeds {count} and seed=... both say the seeds: leave one out.")
    return tuple(range(count))


def _rows(group: Sequence[Axis]) -> Iterable[tuple[Any, ...]]:
    return zip(*(each.values for each in group), strict=True)
