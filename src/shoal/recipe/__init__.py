"""The recipe of one training: its schema, identity, and composition from presets and overrides.

`compose` is not imported here: it needs Hydra, which costs 0.3 s, and only training composes.
"""

from shoal.recipe.parse import from_yaml, parse
from shoal.recipe.schema import Recipe
from shoal.recipe.signature import canonical, signature

__all__ = ["Recipe", "canonical", "from_yaml", "parse", "signature"]
