"""Combinations in which every pair of choices stands together at least once: far fewer than all combinations.

Greedy, as in AETG (Cohen et al. 1997): a combination begins with a missing pair of rare choices, each further choice
is the one that brings in most missing pairs. The first combinations hold most of them, so a part of the list is a fair
sample. Nothing is drawn: the same choices give the same list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

Row = dict[str, str]
Choice = tuple[str, str]


def pairwise(
    choices: Mapping[str, Sequence[str]], possible: Callable[[Mapping[str, str]], bool] = lambda row: True
) -> list[Row]:
    """Return combinations of one choice of every kind; `possible` is asked about parts of one too."""
    missing = {
        frozenset(((first, a), (second, b))): ((first, a), (second, b))
        for first, second in combinations(choices, 2)
        for a in choices[first]
        for b in choices[second]
        if possible({first: a, second: b})
    }
    rows, used = list[Row](), Counter[Choice]()
    while missing:
        row: Row = dict(min(missing.values(), key=lambda pair: used[pair[0]] + used[pair[1]]))
        for kind in choices:
            if kind not in row:
                row[kind] = _best(
                    kind, [each for each in choices[kind] if possible({**row, kind: each})], row, missing, used
                )
        rows.append({kind: row[kind] for kind in choices})
        used.update(row.items())
        for pair in combinations(row.items(), 2):
            missing.pop(frozenset(pair), None)
    return rows


def _best(
    kind: str, fitting: Sequence[str], row: Row, missing: Mapping[frozenset[Choice], object], used: Counter[Choice]
) -> str:
    """The choice that brings in most missing pairs; of equal ones, that which was made least often."""
    assert fitting, f"no {kind} goes with {row}"

    def worth(choice: str) -> tuple[int, int]:
        new = sum(frozenset(((kind, choice), item)) in missing for item in row.items())
        return new, -used[kind, choice]

    return max(fitting, key=worth)
