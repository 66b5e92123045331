"""How commands write: pages as tables on a terminal and as plain lines in a pipe; results as JSON, one a line."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shoal.errors import ShoalError
from shoal.files import to_json
from shoal.pages.blocks import Block, plain
from shoal.pages.formats import clean

GONE = (errno.EPIPE, errno.EIO)
"""The errors of writing where nobody reads any more: the reader of a pipe has left, a terminal was closed."""


def on_terminal() -> bool:
    """Return whether a person reads what is printed."""
    return sys.stdout.isatty()


def page(blocks: Sequence[Block]) -> None:
    """Print a page."""
    if on_terminal():
        from rich.console import Console  # noqa: PLC0415 in a pipe it would be half of the time of `shoal ls`

        from shoal.pages.rendered import Rendered  # noqa: PLC0415

        Console(highlight=False).print(Rendered(blocks))
    else:
        lines(plain(blocks))


def lines(texts: Iterable[str]) -> None:
    """Print lines."""
    try:
        sys.stdout.write("".join(f"{text}\n" for text in texts))
    except OSError as error:
        if error.errno in GONE:
            raise
        raise ShoalError(f"the output could not be written: {error.strerror}.") from error


def results(found: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON object a line."""
    lines(to_json(result) for result in found)


def note(text: str) -> None:
    """Say something beside the result."""
    sys.stdout.flush()
    sys.stderr.write(clean(text, keep="\n\t") + "\n")
