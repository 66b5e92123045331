"""Tables of a page: facts as names and values, grids with a header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shoal.pages.markup import Content, Html, tag


def facts(rows: Iterable[tuple[str, Content]]) -> Html:
    """Return names with their values; what has no value is left out."""
    body = [
        tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows if value not in (None, "")
    ]
    return tag("table", tag("tbody", body), class_="facts")


def grid(titles: Sequence[str], rows: Iterable[Sequence[Content]], *, numbers_from: int = 1) -> Html:
    """Return rows under a header; columns from `numbers_from` on hold numbers. A wide table scrolls in its own room."""
    head = tag("tr", [tag("th", title, scope="col", class_=_kind(at, numbers_from)) for at, title in enumerate(titles)])
    body = [tag("tr", [tag("td", cell, class_=_kind(at, numbers_from)) for at, cell in enumerate(row)]) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="wide")


def _kind(at: int, numbers_from: int) -> str | None:
    return "n" if at >= numbers_from else None
