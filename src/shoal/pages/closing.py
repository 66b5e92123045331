"""What stands on the screen when a training has finished: the result, where it is, and what one does with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.pages import formats
from shoal.pages.blocks import Block, Heading, Lines, Pairs
from shoal.pages.metrics_grid import metrics_grid
from shoal.pages.rendered import Rendered
from shoal.pages.which_weights import weights_in_words


def closing(result: Mapping[str, Any], record: Mapping[str, Any]) -> Rendered:
    """Return the closing table of a run: `result` as `store.record.result` gives it, and its record."""
    folder = formats.clean(result["folder"])
    done: list[tuple[str, str]] = [
        ("steps", f"{formats.number(result['steps'])} in {formats.duration(record.get('seconds'))}"),
        ("ended", formats.clean(record.get("reason") or "")),
        ("weights", weights_in_words(record)),
        ("folder", folder),
        ("look", f"shoal show {folder}"),
        ("measure", f"shoal test {folder}{_split(record)}"),
        ("predict", f"shoal predict {folder} {_input(record)}"),
        ("compare", "shoal ls"),
        ("in Python", f"run = shoal.load({folder!r}); run.model()"),
    ]
    blocks: list[Block] = [Heading(formats.clean(result["run"]))]
    if result["metrics"]:
        blocks += [metrics_grid(result["metrics"]), Lines([""])]
    return Rendered([*blocks, Pairs([(name, value) for name, value in done if value])])


def _split(record: Mapping[str, Any]) -> str:
    """What `shoal test` has to be told: another split where there is no test."""
    sizes: Mapping[str, Any] = _facts(record).get("sizes") or {}
    return " split=valid" if sizes and "test" not in sizes else ""


def _input(record: Mapping[str, Any]) -> str:
    encoding: Mapping[str, Any] = _facts(record).get("encoding") or {}
    return {"text": "'A TEXT'", "image": "PICTURE", "table": "ROWS.csv"}.get(encoding.get("kind", ""), "ARRAY.npy")


def _facts(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return record.get("data") or {}
