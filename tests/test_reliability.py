"""The page of faults: every fault has its row, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

ROWS = [match for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if (match := ROW.fullmatch(line))]


@cache
def named_in(path: str) -> set[str]:
    """The names of the test functions in a file, which is not imported."""
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_fault_has_its_row() -> None:
    assert [int(row[1]) for row in ROWS] == list(range(1, 36))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_every_test_that_a_row_names_is_there(row: re.Match[str]) -> None:
    named = TEST.findall(row[4])
    assert TEST.sub("", row[4]).strip(", ") == "", "nothing but tests stands there"
    assert named
    missing = [f"{path}::{name}" for path, name in named if name not in named_in(path)]
    assert not missing
