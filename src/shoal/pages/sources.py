"""Where runs come from, side by side: code, data, versions, machines, plans; what differs, and what is the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shoal.analysis import Member
from shoal.files import to_json
from shoal.pages import formats
from shoal.pages.lenient import inner

DIGITS = 12
NAMES = {"dataset": "data", "init": "weights started from", "frozen": "frozen weights"}
"""What a digest is of; all others are of the source of a part."""
MISSING = "-"


def facts_of(members: Sequence[Member]) -> dict[str, str]:
    """Return facts by name; where the runs of an experiment differ, every value there is."""
    found: dict[str, dict[str, None]] = {}
    for member in members:
        for name, value in _facts(member.known):
            found.setdefault(name, {})[value] = None
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def apart(columns: Sequence[Mapping[str, str]]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return what differs, a value for each column, and what is the same in all.

    >>> apart([{"commit": "a", "host": "h"}, {"commit": "b", "host": "h"}])
    ({'commit': ['a', 'b']}, {'host': 'h'})
    """
    names = dict.fromkeys(name for column in columns for name in column)
    rows = {name: [column.get(name, MISSING) for column in columns] for name in names}
    differing = {name: row for name, row in rows.items() if len(set(row)) > 1}
    return differing, {name: row[0] for name, row in rows.items() if name not in differing}


def _facts(known: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    source, data, plan = inner(known, "provenance"), inner(known, "data"), inner(known, "plan")
    git = inner(source, "git")
    if git.get("commit"):
        changed = ", with changes that were not committed" if git.get("dirty") else ""
        yield "commit", f"{formats.clean(git['commit'])[:DIGITS]}{changed}"
    for name, digest in inner(inner(known, "identity"), "digests").items():
        yield formats.clean(NAMES.get(name, f"source of the {name}")), formats.clean(digest)[:DIGITS]
    if sizes := inner(data, "sizes"):
        yield "examples", formats.clean(", ".join(f"{split} {formats.number(size)}" for split, size in sizes.items()))
    if known.get("parameters") is not None:
        yield "parameters", formats.number(known["parameters"])
    yield from ((formats.clean(name), formats.clean(version)) for name, version in inner(source, "versions").items())
    for name, value in (("Python", source.get("python")), ("system", source.get("platform"))):
        if value:
            yield name, formats.clean(value)
    if host := known.get("host") or source.get("host"):
        yield "host", formats.clean(host)
    for name, value in plan.items():
        if name != "torch":
            yield f"plan: {formats.clean(name)}", formats.clean(value if isinstance(value, str) else to_json(value))
