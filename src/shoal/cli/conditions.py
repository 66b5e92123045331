"""What `shoal ls` sorts and filters by: `test.accuracy>0.9`, `-started`. A small grammar; nothing is evaluated."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from shoal.errors import InputError, nearest, unknown
from shoal.store import Summary

NUMBERS = ("steps", "total_steps", "seed", "seconds")
TEXTS = ("run", "name", "signature", "status", "started", "finished")

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(rf"\s*(?P<key>[^\s<>=!]+)\s*(?P<sign>{'|'.join(OPERATORS)})\s*(?P<value>\S(?:.*\S)?)\s*")

Value = float | str | None


@dataclass(frozen=True)
class Condition:
    """A key, a comparison, a value. A run that has no such value does not meet it."""

    key: str
    sign: str
    value: float | str

    def holds(self, run: Summary) -> bool:
        """Return whether the run meets the condition."""
        value = value_of(run, self.key)
        return value is not None and OPERATORS[self.sign](value, self.value)


def parse(text: str) -> Condition:
    """Read `KEY SIGN VALUE`; raises InputError that says what was expected.

    >>> parse("test.accuracy>0.9")
    Condition(key='test.accuracy', sign='>', value=0.9)
    """
    match = CONDITION.fullmatch(text)
    if match is None:
        raise InputError(
            f"--where {text!r}: expected KEY, one of {' '.join(OPERATORS)}, and a value: 'test.accuracy>0.9'."
        )
    key, value = match["key"], match["value"]
    if key in TEXTS:
        return Condition(key, match["sign"], value)
    try:
        return Condition(key, match["sign"], float(value))
    except ValueError as error:
        raise InputError(f"--where {text!r}: {key} is compared with a number, and {value!r} is none.") from error


def check(keys: Collection[str], runs: Sequence[Summary], option: str) -> None:
    """Raise InputError for a key that no run has a value of, with the nearest that one has."""
    if all(key in NUMBERS or key in TEXTS for key in keys):
        return
    metrics = {metric for run in runs for metric in run.metrics}
    known = {*NUMBERS, *TEXTS, *metrics}
    for key in keys:
        if key not in known and (runs if "." not in key else metrics):
            close = nearest(key, known)
            hint = f"did you mean {close}? " if close else ""
            raise InputError(f"{option} {key!r}: no run has it; {hint}There are: {', '.join(sorted(known))}.")


def check_tags(tags: Sequence[str], runs: Sequence[Summary]) -> None:
    """Raise InputError for a tag that no run has, with the nearest that one has."""
    known = {tag for run in runs for tag in run.tags}
    for tag in tags:
        if runs and tag not in known:
            raise InputError(unknown("tag", tag, sorted(known)) if known else f"--tag {tag!r}: no run has any tag yet.")


def ordered(runs: Sequence[Summary], key: str, *, falling: bool) -> list[Summary]:
    """Return the runs sorted by a key; those that have no value of it come last in either order."""
    having = [run for run in runs if value_of(run, key) is not None]
    lacking = [run for run in runs if value_of(run, key) is None]
    return sorted(having, key=lambda run: _comparable(value_of(run, key)), reverse=falling) + lacking


def value_of(run: Summary, key: str) -> Value:
    """Return what a run has under a key: a field of its summary, or a metric."""
    if key == "run":
        return run.label
    if key in NUMBERS or key in TEXTS:
        return getattr(run, key)
    return run.metrics.get(key)


def _comparable(value: Value) -> Any:
    """NaN has no place in an order: below everything."""
    return float("-inf") if isinstance(value, float) and math.isnan(value) else value
