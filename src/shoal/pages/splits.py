"""The splits of a history, and which weights were measured on each.

`valid.accuracy` is of the weights as they were trained, `valid_average.accuracy` of their average on the same split.
"""

from __future__ import annotations

from collections.abc import Iterable

SPLITS = ("train", "valid", "test")
AVERAGED = "_average"
"""What the name of a split ends in where averaged weights were measured; `training.seams` has the same."""
MEASURED = ("train", "valid", f"valid{AVERAGED}", "test", f"test{AVERAGED}")
"""Every name of a split that a history has, averaged weights beside the others."""


def split_of(name: str) -> str:
    """Return the split of a metric, '' for what is none.

    >>> split_of("valid_average.loss"), split_of("lr"), split_of("other.loss")
    ('valid_average', '', '')
    """
    split = name.partition(".")[0]
    return split if "." in name and split in MEASURED else ""


def splits_of(names: Iterable[str]) -> list[str]:
    """Return the splits that metrics are of, in their order.

    >>> splits_of(["test.loss", "valid_average.loss", "valid.loss", "lr"])
    ['valid', 'valid_average', 'test']
    """
    found = {split_of(name) for name in names}
    return [split for split in MEASURED if split in found]


def is_averaged(name: str) -> bool:
    """Return whether a split or a metric is one of averaged weights.

    >>> is_averaged("test_average.loss"), is_averaged("test_average"), is_averaged("test.loss")
    (True, True, False)
    """
    return name.partition(".")[0].endswith(AVERAGED)


def title(split: str) -> str:
    """Return what a table calls a split.

    >>> title("valid_average"), title("valid")
    ('valid averaged', 'valid')
    """
    return f"{split.removesuffix(AVERAGED)} averaged" if is_averaged(split) else split


def in_legend(split: str) -> str:
    """Return what a chart calls a split.

    >>> in_legend("valid_average"), in_legend("valid")
    ('valid, averaged weights', 'valid')
    """
    return f"{split.removesuffix(AVERAGED)}, averaged weights" if is_averaged(split) else split
