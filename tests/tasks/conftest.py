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
    TABLES["task"].clear()
    TABLES["task"].update(table)
    BUILDERS.clear()
    BUILDERS.update(builders)
