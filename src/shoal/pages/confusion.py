"""The confusion matrix as a table: numbers first, shading beside them, what is confused most in words."""

from __future__ import annotations

from collections.abc import Sequence

from shoal.pages import formats
from shoal.pages.markup import Html, tag

RIGHT, WRONG = "0,114,178", "213,94,0"
"""Blue and vermilion of Okabe and Ito, at most half opaque: numbers stay readable on light and dark."""
MOST_SHADE = 0.55
WORST = 8
LONGEST = 24
TURNED_FROM = 3
"""Letters of a label from which the labels over the columns are turned."""

Matrix = Sequence[Sequence[int]]


def confusion_table(matrix: Matrix, labels: Sequence[str]) -> Html:
    """Return the table: targets as rows, predictions as columns; an empty cell is none."""
    names = [short(label) for label in labels]
    turned = "turned" if max(map(len, names)) >= TURNED_FROM else None
    head = tag("tr", tag("th"), [_over(name, label, turned) for name, label in zip(names, labels, strict=True)])
    rows = [_row(at, row, names[at]) for at, row in enumerate(matrix)]
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="confusion")
    note = tag("p", "Rows are what the examples are, columns what was predicted; shading is the share of the row.")
    return tag("div", tag("div", table, class_="wide"), tag("div", note, class_="soft"))


def _over(name: str, label: str, turned: str | None) -> Html:
    return tag("th", tag("div", name, class_=turned), scope="col", title=label if label != name else None)


def _row(at: int, row: Sequence[int], name: str) -> Html:
    total = sum(row)
    cells = [_cell(count, total, right=at == column) for column, count in enumerate(row)]
    return tag("tr", tag("th", name, scope="row"), cells)


def _cell(count: int, total: int, *, right: bool) -> Html:
    kind = "right" if right else None
    if not count:
        return tag("td", class_=kind)
    shade = MOST_SHADE * (count / total if right else min(1.0, 0.25 + count / total))
    return tag(
        "td", formats.count(count), class_=kind, style=f"background:rgba({RIGHT if right else WRONG},{shade:.2f})"
    )


def confused_most(matrix: Matrix, labels: Sequence[str]) -> str:
    """Return the pairs that are confused most often, in words; "" where there are none."""
    pairs = [
        (count, target, prediction)
        for target, row in enumerate(matrix)
        for prediction, count in enumerate(row)
        if count and target != prediction
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    told = [f"{short(labels[target])} as {short(labels[prediction])} ({count})" for count, target, prediction in pairs]
    more = f", and {len(told) - WORST} pairs more" if len(told) > WORST else ""
    return f"Confused most often: {', '.join(told[:WORST])}{more}." if told else ""


def short(label: str) -> str:
    """Return a label in at most 24 characters."""
    cleaned = formats.clean(label)
    return cleaned if len(cleaned) <= LONGEST else f"{cleaned[: LONGEST - 1]}…"
