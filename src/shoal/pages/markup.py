"""HTML as data: elements whose text is escaped unless it is markup already, so that nothing from a run can act.

    tag("td", "a < b", class_="n")  ->  <td class="n">a &lt; b</td>

Text also goes through `formats.clean`: control characters are shown as their codes.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import cast

from shoal.pages import formats

EMPTY = frozenset({"meta", "img", "br", "hr", "rect", "line", "path", "circle", "image", "use", "input"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content = object
"""An Html, or anything else, whose text is escaped; None is nothing; an iterable is its items in a row."""


def escaped(text: object, *, keep: str = "\n\t") -> str:
    r"""Return text as it may stand between tags and in quoted attributes.

    >>> escaped('<b class="x">&\x00')
    '&lt;b class=&quot;x&quot;&gt;&amp;\\x00'
    """
    return html.escape(formats.clean(text, keep=keep), quote=True)


def joined(*contents: Content) -> Html:
    """Return contents in a row as markup."""
    return Html("".join(_piece(content) for content in contents))


def tag(name: str, /, *contents: Content, **attributes: object) -> Html:
    """Return an element. `class_` is class and `stroke_width` stroke-width; True is an attribute without a value.

    >>> tag("a", "x & y", tag("br"), class_="k", title=None, open=True)
    '<a class="k" open>x &amp; y<br></a>'
    """
    said = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    inner = joined(*contents)
    if name in EMPTY and not inner:
        return Html(f"<{name}{said}>" if name in ("meta", "img", "br", "hr", "input") else f"<{name}{said}/>")
    return Html(f"<{name}{said}>{inner}</{name}>")


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_") if key == "viewBox" else key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escaped(value)}"'


def _piece(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Html):
        return content
    if isinstance(content, Iterable) and not isinstance(content, str | bytes):
        return "".join(_piece(item) for item in cast("Iterable[object]", content))
    return escaped(content)
