"""How a run was executed, and what `scale_from` made of its recipe: facts that `shoal show` and the page tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.pages import formats
from shoal.pages.lenient import inner, real, rows_of, texts_of

FIRST = ("execution", "device", "threads")
TITLES = {"channels_last": "channels last"}


def plan_facts(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the plan as names and values: execution, device, threads, precision, then the rest; [] without a plan.

    >>> plan_facts({"plan": {"torch": "2.13", "threads": 1, "execution": "captured", "channels_last": False}})
    [('execution', 'captured'), ('threads', '1'), ('precision', 'fp32'), ('torch', '2.13'), ('channels last', 'no')]
    """
    plan = inner(known, "plan")
    if not plan:
        return []
    rest = [key for key in plan if key not in FIRST]
    told = [(key, _value(plan[key])) for key in FIRST if key in plan]
    if "program" not in known:  # whose precision is its own affair
        told.append(("precision", precision_of(known)))
    told += [(formats.clean(TITLES.get(key, key)), _value(plan[key])) for key in rest]
    if changes := texts_of(known, "replanned"):
        told.append(("changed on the way", formats.clean(", ".join(changes))))
    skipped = known.get("skipped_updates")
    return [*told, ("skipped", f"{_value(skipped)} updates, for their gradients overflowed")] if skipped else told


def precision_of(known: Mapping[str, Any]) -> str:
    """Return the precision of a run; what identity leaves out is float32."""
    return formats.clean(inner(inner(known, "identity"), "recipe").get("precision") or "fp32")


def scaled_rows(known: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return what `scale_from` changed: key, the value that the recipe says, the value that was trained with, why.

    >>> scaled_rows({"scaled": [{"key": "optimizer.lr", "before": 0.1, "after": 0.4, "why": "linear"}]})
    [('optimizer.lr', '0.1', '0.4', 'linear')]
    """
    rows = rows_of(known, "scaled")
    return [
        (
            formats.clean(row.get("key")),
            _number(row.get("before")),
            _number(row.get("after")) if row.get("after") != row.get("before") else "stays",
            formats.clean(row.get("why")),
        )
        for row in rows
    ]


def _value(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else formats.number(value)


def _number(value: Any) -> str:
    number = real(value)
    return formats.clean(value) if number is None else f"{number:.8g}"
