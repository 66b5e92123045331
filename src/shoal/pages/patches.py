"""How uncommitted changes differ between runs: which files of code.patch, and by how many lines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shoal.pages import formats
from shoal.store import RunFolder

MOST_BYTES = 5_000_000
MOST_FILES = 8
HEAD = re.compile(rb'^diff --git "?a/(?P<old>.*?)"? "?b/(?P<new>.*?)"?$')


@dataclass(frozen=True)
class Change:
    """What a patch does to one file."""

    added: int
    removed: int
    digest: str

    def __str__(self) -> str:
        return f"+{self.added} -{self.removed}"


def changes(folder: RunFolder) -> dict[str, Change]:
    """Return what the patch of a run changes, by file; {} without a patch."""
    if not folder.patch.is_file():  # a pipe would be waited for
        return {}
    try:
        with folder.patch.open("rb") as file:
            return changes_in(file.read(MOST_BYTES))
    except OSError:
        return {}


def changes_in(patch: bytes) -> dict[str, Change]:
    r"""Return what a patch changes, by file.

    >>> found = changes_in(b"diff --git a/m.py b/m.py\n--- a/m.py\n+++ b/m.py\n@@ -1 +1,2 @@\n-a\n+b\n+c\n")
    >>> {name: str(change) for name, change in found.items()}
    {'m.py': '+2 -1'}
    """
    parts: dict[str, list[bytes]] = {}
    lines: list[bytes] = []
    for line in patch.split(b"\n"):
        if head := HEAD.match(line):
            lines = parts.setdefault(head["new"].decode(errors="replace"), [])
        lines.append(line)
    return {name: _change(part) for name, part in parts.items()}


def _change(lines: Sequence[bytes]) -> Change:
    start = next((at for at, line in enumerate(lines) if line.startswith(b"@@")), len(lines))
    body = lines[start:]
    added, removed = (sum(line.startswith(sign) for line in body) for sign in (b"+", b"-"))
    return Change(added, removed, hashlib.sha256(b"\n".join(lines).rstrip()).hexdigest())


def difference(patches: Mapping[str, Mapping[str, Change]]) -> str:
    """Return in words how patches differ, by the letter of what they belong to; '' where they do not.

    >>> difference({"A": {"m.py": Change(2, 1, "x")}, "B": {}})
    'code.patch differs: m.py (A +2 -1, B unchanged)'
    """
    names = dict.fromkeys(name for patch in patches.values() for name in patch)
    differing = [name for name in names if len({_digest(patch.get(name)) for patch in patches.values()}) > 1]
    if not differing:
        return ""
    told = [f"{formats.clean(name)} ({_each(name, patches)})" for name in differing[:MOST_FILES]]
    more = f", and {len(differing) - MOST_FILES} files more" if len(differing) > MOST_FILES else ""
    return f"code.patch differs: {', '.join(told)}{more}"


def _each(name: str, patches: Mapping[str, Mapping[str, Change]]) -> str:
    return ", ".join(f"{letter} {patch.get(name, 'unchanged')}" for letter, patch in patches.items())


def _digest(change: Change | None) -> str:
    return change.digest if change else ""
