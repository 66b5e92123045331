"""A page of HTML as one file: head, style, content, script; nothing loads, and no script runs but its own.

The policy in the head names the script by its digest. Data for the script are JSON in an element that no browser runs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from shoal.files import to_json
from shoal.pages.markup import Content, Html, tag

GENERATOR = "Shoal run page"


def document(
    title: str,
    body: Content,
    *,
    scripts: Sequence[str] = ("drawing.js", "page.js"),
    styles: Sequence[str] = ("page.css",),
) -> str:
    """Return the page; scripts and styles are files beside this one, joined in their order."""
    style, script = _joined(styles), _joined(scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    head = [
        Html('<meta charset="utf-8">'),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="generator", content=GENERATOR),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Html(f"<style>{style}</style>"),
    ]
    page = tag("body", tag("main", body), Html(f"<script>{script}</script>"))
    return f'<!DOCTYPE html>\n<html lang="en">{tag("head", head)}{page}</html>\n'


def data(name: str, content: object) -> Html:
    r"""Return content as JSON in an element that a script finds by its id and that nothing runs.

    >>> data("runs", ["</script>"])
    '<script type="application/json" id="runs">["\\u003c/script\\u003e"]</script>'
    """
    text = to_json(content, compact=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{name}">{text}</script>')


def is_page(path: Path) -> bool:
    """Return whether a file is a page that was made here."""
    try:
        with path.open("rb") as file:
            return f'content="{GENERATOR}"'.encode() in file.read(2000)
    except OSError:
        return False


def _joined(names: Sequence[str]) -> str:
    here = Path(__file__).parent
    return "".join((here / name).read_text(encoding="utf-8") for name in names)
