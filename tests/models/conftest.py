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
    TABLES["model"].clear()
    TABLES["model"].update(table)
    BUILDERS.clear()
    BUILDERS.update(builders)
