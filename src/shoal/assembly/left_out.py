"""Examples of Datasets that could not be read and were left out (dataset.broken=skip): counted, and each said once.

`run.json` has them by split under `left_out`: how many, which, and why the first of them. A run that is started again
begins with those, so that its count does not depend on how often it was killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_LISTED, MOST_SAID = 10_000, 20
"""Examples of a split that `run.json` lists, and that one sentence names, at most."""


class LeftOut:
    """What was left out of each split, by index, with the reason."""

    def __init__(self) -> None:
        self.found: dict[str, dict[int, str]] = {}
        self.told: dict[str, set[int]] = {}

    def of(self, split: str) -> dict[int, str]:
        """Return what was left out of a split: to be written to as more is found."""
        return self.found.setdefault(split, {})

    def load(self, record: Mapping[str, Any]) -> None:
        """Begin with what the record of a run has: that has been said."""
        recorded: Mapping[str, Mapping[str, Any]] = record.get("left_out") or {}
        for split, known in recorded.items():
            of = self.of(split)
            of |= dict.fromkeys(known["examples"], "")
            of[min(of)] = known["first"]
            self.told[split] = set(of)

    def plain(self) -> dict[str, Any]:
        """Return what `run.json` has of it."""
        found = {split: dict(sorted(of.items())) for split, of in self.found.items() if of}
        return {
            split: {"count": len(of), "examples": list(of)[:MOST_LISTED], "first": next(iter(of.values()))}
            for split, of in found.items()
        }

    def news(self) -> list[str]:
        """Return a sentence for each split of which more was left out since this was asked last."""
        said: list[str] = []
        for split, of in self.found.items():
            told = self.told.setdefault(split, set())
            new = sorted(set(of) - told)
            if new:
                said.append(_sentence(split, new, of, more=bool(told)))
                told.update(new)
        return said


def _sentence(split: str, new: list[int], of: Mapping[int, str], *, more: bool) -> str:
    listed = ", ".join(str(index) for index in new[:MOST_SAID]) + (", ..." if len(new) > MOST_SAID else "")
    count = f"{len(new):,} {'more ' if more else ''}example{'s' if len(new) > 1 else ''}"
    were, why = "were" if len(new) > 1 else "was", of[new[0]].rstrip(".")
    return (
        f"{count} of {split} could not be read and {were} left out (dataset.broken=skip): {listed}. {why}. Mend or "
        "remove what cannot be read."
    )
