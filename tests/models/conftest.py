"""Entries that a test registers are gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shoal.models import BUILDERS
from shoal.recipe.tables import TABLES


@pytest.fixture(autouse=True)
def own_entries() -> Iterator[None]:
    table, builders = dict(TABLES["model"]), dict(BUILDERS)
    yield
    for current, before in ((TABLES["model"], table), (BUILDERS, builders)):
        current.clear()
        current.update(before)  # pyright: ignore
