"""Optimizers: what a recipe names, built over a model's parameters, their state addressed by parameter name.

Beside them the pieces of a step that act on gradients and weights, for a loop written by hand too: clipping, averages
of weights, batch-norm statistics of an average, lookahead, sharpness-aware minimisation.

Not for how hyperparameters change (that is `schedules`). To add an entry: its parameters in `recipe.parts`, its
builder in `table.BUILDERS`; the contract tests then run over it.
"""

from shoal.optim.averaging import Average, averaged, lookahead, lookahead_
from shoal.optim.batch_norms import batch_norm_statistics, has_batch_norm
from shoal.optim.clipping import Clip
from shoal.optim.functional import functional_call
from shoal.optim.sam import ascent, climbed, climbing
from shoal.optim.state import group_state, load_group_state, load_named_state, named_state
from shoal.optim.table import BUILDERS, build, register
from shoal.optim.writers import base_value, writers

__all__ = [
    "BUILDERS",
    "Average",
    "Clip",
    "ascent",
    "averaged",
    "base_value",
    "batch_norm_statistics",
    "build",
    "climbed",
    "climbing",
    "functional_call",
    "group_state",
    "has_batch_norm",
    "load_group_state",
    "load_named_state",
    "lookahead",
    "lookahead_",
    "named_state",
    "register",
    "writers",
]
