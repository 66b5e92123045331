"""What the tests of datasets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shoal.recipe.parts import Arrays


@pytest.fixture
def part() -> Callable[..., Arrays]:
    """Return the `dataset` part of a recipe, for arrays."""

    def make(**fields: Any) -> Arrays:
        return Arrays(**fields)

    return make
