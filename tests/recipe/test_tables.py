from __future__ import annotations

import pytest

from shoal.errors import RecipeError
from shoal.recipe.parts import Mlp
from shoal.recipe.tables import TABLES, entry


def test_an_import_that_was_interrupted_may_be_repeated() -> None:
    again = type("Mlp", (Mlp,), {"__module__": Mlp.__module__, "__qualname__": Mlp.__qualname__})
    try:
        assert entry("model", again) is TABLES["model"]["mlp"] is again
    finally:
        TABLES["model"]["mlp"] = Mlp
    with pytest.raises(RecipeError, match="the model 'mlp' is registered twice"):
        entry("model", type("Other", (Mlp,), {}))
