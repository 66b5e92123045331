"""What varies among experiments: each key with its values in order, and the scale that they are drawn on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

from shoal.analysis import Experiment
from shoal.pages import formats, ticks
from shoal.pages.lenient import real
from shoal.pages.naming import short_keys
from shoal.pages.report_facts import value as in_words

LINEAR, LOG, NAMES = "linear", "log", "names"
LOG_RATIO = 4.0
"""How much the largest value must be of the smallest for a logarithmic scale."""
MARKED = 8
"""Different numbers up to which an axis is marked with just these."""
NOT_VARIED = ("name", "seed")


@dataclass(frozen=True)
class Axis:
    """One key that varies: its different values in order; names are at 0, 1, 2, ..."""

    key: str
    short: str
    scale: str
    values: tuple[Any, ...]

    def place(self, value: Any) -> float:
        """Return where on the scale a value is."""
        number = real(value)
        if self.scale == NAMES or number is None:
            return float(self.texts.index(text_of(value)))
        return number

    @property
    def texts(self) -> list[str]:
        """The values in words."""
        return [text_of(value) for value in self.values]

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Where the axis is marked, and with what; [] for round numbers in between."""
        if self.scale == NAMES:
            return [(float(place), text) for place, text in enumerate(self.texts)]
        if len(self.values) > MARKED:
            return []
        return [(self.place(value), ticks.label(float(f"{self.place(value):.3g}"))) for value in self.values]


def text_of(value: Any) -> str:
    """Return a value as a recipe would write it, short and without anything that acts."""
    text = formats.clean(f"{value:.6g}" if isinstance(value, float) else in_words(value))
    return text if len(text) <= 40 else f"{text[:37]}..."


def varied(experiments: Sequence[Experiment], keys: Iterable[str] | None = None) -> list[Axis]:
    """Return the keys that have several values: of `keys` where a sweep says which, else of all in the recipes."""
    configs = [one.config for one in experiments]
    every = keys if keys is not None else (key for config in configs for key in config if key not in NOT_VARIED)
    found = {str(key): _different(configs, str(key)) for key in every}
    several = {key: values for key, values in found.items() if len(values) > 1}
    short = short_keys(list(several))
    return [Axis(key, short[key], _scale(values), tuple(values)) for key, values in several.items()]


def _different(configs: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """The different values of a key in order: numbers by size, then everything else by its words."""
    found = {text_of(config.get(key)): config.get(key) for config in configs}
    return sorted(found.values(), key=lambda value: (real(value) is None, real(value) or 0.0, text_of(value)))


def _scale(values: Sequence[Any]) -> str:
    """Names unless all are finite numbers; logarithmic where they are spaced more evenly that way."""
    numbers = [number for value in values if (number := real(value)) is not None and math.isfinite(number)]
    if len(numbers) < len(values):
        return NAMES
    if numbers[0] <= 0 or numbers[-1] < LOG_RATIO * numbers[0]:
        return LINEAR
    if len(numbers) == 2:
        return LOG if numbers[1] >= 10 * numbers[0] else LINEAR
    logs = [math.log(number) for number in numbers]
    return LOG if _unevenness(logs) < _unevenness(numbers) else LINEAR


def _unevenness(numbers: Sequence[float]) -> float:
    gaps = [high / 2 - low / 2 for low, high in pairwise(numbers)]
    return pstdev(gaps) / fmean(gaps) if all(map(math.isfinite, gaps)) and fmean(gaps) else math.inf
