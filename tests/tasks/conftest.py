"""Entries that a test registers are gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shoal.recipe.tables import TABLES
from shoal.tasks import BUILDERS


@pytest.fixture(autouse=True)
def own_entries() -> Iterator[None]:
    table, builders = dict(TABLES["task"]), dict(BUILDERS)
    yield
    for current, before in ((TABLES["task"], table), (BUILDERS, builders)):
        current.clear()
        current.update(before)  # pyright: ignore
