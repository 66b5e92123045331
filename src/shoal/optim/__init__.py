"""Optimizers: what a recipe names, built over a model's parameters, their state addressed by parameter name.

Not for how hyperparameters change (that is `schedules`). To add an entry: its parameters in `recipe.parts`, its
builder in `table.BUILDERS`; the contract tests then run over it.
"""

from shoal.optim.state import group_state, load_group_state, load_named_state, named_state
from shoal.optim.table import BUILDERS, build, register
from shoal.optim.writers import base_value, writers

__all__ = [
    "BUILDERS",
    "base_value",
    "build",
    "group_state",
    "load_group_state",
    "load_named_state",
    "named_state",
    "register",
    "writers",
]
