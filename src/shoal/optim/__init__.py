"""Optimizers: what a recipe names, built over a model's parameters, their state addressed by parameter name."""

from shoal.optim.state import load_named_state, named_state
from shoal.optim.table import BUILDERS, build, register
from shoal.optim.writers import writers

__all__ = ["BUILDERS", "build", "load_named_state", "named_state", "register", "writers"]
