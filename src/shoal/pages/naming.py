"""Short names of the points of a sweep: what differs from the common base, with keys as short as they can be.

{"optimizer.lr": 0.1, "model.width": 64}              lr=0.1 width=64
{"schedules.lr.name": "cosine", "optimizer.lr": 0.1}  sch.lr=cosine opt.lr=0.1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

LETTERS = 3
"""What is left of the sections above a key where the key alone would mean several."""


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest name of each key that still means one of them: its last word, else with shortened sections.

    >>> short_keys(["optimizer.lr", "model.width", "optimizer.name"])
    {'optimizer.lr': 'lr', 'model.width': 'width', 'optimizer.name': 'optimizer'}
    >>> short_keys(["optimizer.lr", "schedules.lr.name"])
    {'optimizer.lr': 'opt.lr', 'schedules.lr.name': 'sch.lr'}
    """
    bare = {key: key.removesuffix(".name") for key in keys}
    last = {key: name.rpartition(".")[2] for key, name in bare.items()}
    taken = Counter(last.values())
    shorter = {key: last[key] if taken[last[key]] == 1 else _shortened(bare[key]) for key in keys}
    taken = Counter(shorter.values())
    return {key: shorter[key] if taken[shorter[key]] == 1 else key for key in keys}


def name_of(values: Mapping[str, Any], short: Mapping[str, str]) -> str:
    """Return a point's name, its values in their order.

    >>> name_of({"optimizer.lr": 0.0316228, "batch_size": 32}, {"optimizer.lr": "lr", "batch_size": "batch_size"})
    'lr=0.0316228 batch_size=32'
    """
    return " ".join(f"{short.get(key, key)}={value_text(value)}" for key, value in values.items())


def value_text(value: Any) -> str:
    """Return a value as it is typed.

    >>> [value_text(value) for value in (0.1, 64, True, None, [1, 2], "cosine")]
    ['0.1', '64', 'true', 'null', '[1,2]', 'cosine']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(value_text, value))}]"  # pyright: ignore[reportUnknownArgumentType]
    return str(value)


def _shortened(key: str) -> str:
    *above, last = key.split(".")
    return ".".join([*(section[:LETTERS] for section in above), last])
