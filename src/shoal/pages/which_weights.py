"""Which weights a run's result is of, in words: the best, an average, or the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.pages import formats
from shoal.pages.lenient import inner
from shoal.pages.splits import is_averaged


def average_name(known: Mapping[str, Any]) -> str:
    """Return what the average of a run is called in its recipe, '' where it has none or is not told.

    A metric of averaged weights without an average in the recipe is of an optimizer that keeps one itself.
    """
    recipe = inner(inner(known, "identity"), "recipe")
    name = inner(recipe, "average").get("name", "none")
    if name != "none":
        return formats.clean(name)
    return formats.clean(inner(recipe, "optimizer").get("name") or "") if has_average(known) else ""


def has_average(known: Mapping[str, Any]) -> bool:
    """Return whether averaged weights were measured."""
    return any(map(is_averaged, inner(known, "metrics")))


def weights_in_words(known: Mapping[str, Any]) -> str:
    """Return which weights count, '' where they are simply the last.

    >>> weights_in_words({"best": {"metric": "valid_average.loss", "value": 0.1, "step": 1200}})
    'the best by valid_average.loss, of step 1,200; they are averaged'
    """
    best = inner(known, "best")
    if best:
        averaged = "; they are averaged" if is_averaged(str(best.get("metric"))) else ""
        return f"the best by {formats.clean(best.get('metric'))}, of step {formats.number(best.get('step'))}{averaged}"
    if not has_average(known):
        return ""
    name = average_name(known)
    return f"averaged{f' ({name})' if name else ''}; weights=raw takes the last ones"
