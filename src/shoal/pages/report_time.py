"""The part of a page about time: where the seconds went, and how fast it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.pages import formats
from shoal.pages.chart import chart
from shoal.pages.lenient import inner, real
from shoal.pages.markup import Content, Html, tag
from shoal.pages.series import Rows, rate
from shoal.pages.tables import facts, grid

SHARES = {
    "startup": ("start-up", "#999999"),
    "training": ("training", "#0072b2"),
    "evaluation": ("evaluation", "#e69f00"),
    "saving": ("saving checkpoints", "#009e73"),
}


def time_spent(known: Mapping[str, Any], timing: Rows) -> Html:
    """Return the section."""
    moments = [
        ("started", formats.when(known["started"]) if known.get("started") else None),
        ("ended", formats.when(known["finished"]) if known.get("finished") else None),
        ("time", formats.duration(real(known["seconds"])) if real(known.get("seconds")) is not None else None),
        ("attempts", formats.number(known["attempts"]) if known.get("attempts") else None),
        ("rate", _middle(timing)),
    ]
    drawn = rate(timing)
    spent = _shares(inner(known, "times"), attempts=real(known.get("attempts")))
    curve = chart(drawn) if drawn is not None else tag("p", "No rates were recorded over the steps.", class_="soft")
    left = tag("div", facts(moments), spent)
    return tag("section", tag("h2", "Where time went"), tag("div", left, curve, class_="columns"))


def _middle(timing: Rows) -> str | None:
    rates = sorted(found for row in timing if (found := real(row.get("examples_per_second"))) is not None and found > 0)
    return f"{rates[len(rates) // 2]:,.0f} examples/s (median)" if rates else None


def _shares(times: Mapping[str, Any], *, attempts: float | None) -> Content:
    """A bar and a table of what was recorded; what was not is said."""
    known = {name: seconds for name in SHARES if (seconds := real(times.get(name))) is not None and seconds >= 0}
    total = sum(known.values())
    if not total > 0:
        return tag("p", "Which part of it was start-up, training, evaluation or saving is not recorded.", class_="soft")
    bar = [tag("span", style=f"width:{known[name] / total:.2%};background:{SHARES[name][1]}") for name in known]
    rows = [[_named(name), formats.duration(seconds), f"{seconds / total:.1%}"] for name, seconds in known.items()]
    last = tag("p", "Of the last attempt.", class_="soft") if attempts is not None and attempts > 1 else None
    return [tag("div", bar, class_="bar", aria_hidden="true"), grid(["part", "time", "share"], rows), last]


def _named(name: str) -> Html:
    title, colour = SHARES[name]
    return tag("span", tag("span", "■ ", style=f"color:{colour}", aria_hidden="true"), title)
