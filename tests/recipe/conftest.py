"""Entries that a test declares are gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shoal.recipe.tables import TABLES


@pytest.fixture(autouse=True)
def own_entries() -> Iterator[None]:
    before = {kind: dict(table) for kind, table in TABLES.items()}
    yield
    for kind, table in before.items():
        TABLES[kind].clear()
        TABLES[kind].update(table)
