"""Optimizers: what a recipe names, built over a model's parameters, their state addressed by parameter name.

Each has two forms: a torch.optim class, which serves eager execution, and a rule, a pure function, which serves
captured steps and stacks. Beside them the pieces of a step that act on gradients and weights, for a loop written by
hand too: clipping, averages of weights, batch-norm statistics of an average, lookahead, sharpness-aware minimisation.

Not for how hyperparameters change (that is `schedules`). To add an entry: its parameters in `recipe.optimizer_parts`,
builder and rule in the file of its family, its rows in `table`; the contract tests then run over it.
"""

from shoal.optim.averaging import Average, averaged, lookahead, lookahead_
from shoal.optim.batch_norms import batch_norm_statistics, has_batch_norm
from shoal.optim.clipping import Clip
from shoal.optim.functional import functional_call
from shoal.optim.groups import NamedGroup, named_groups, parameter_groups
from shoal.optim.lbfgs import needs_closure
from shoal.optim.rule import Fused, Hyper, Rule, Tree
from shoal.optim.rule_optimizer import RuleOptimizer
from shoal.optim.sam import ascent, climbed, climbing
from shoal.optim.schedule_free import is_averaging, point_average
from shoal.optim.spectral_norms import spectral_vectors
from shoal.optim.state import group_state, load_group_state, load_named_state, named_state
from shoal.optim.table import BUILDERS, RULES, SYNCHRONISES, build, default_schedules, hypers_of, register, rule_of
from shoal.optim.unwrapped import step_of
from shoal.optim.writers import base_value, hyper_name, writers

__all__ = [
    "BUILDERS",
    "RULES",
    "SYNCHRONISES",
    "Average",
    "Clip",
    "Fused",
    "Hyper",
    "NamedGroup",
    "Rule",
    "RuleOptimizer",
    "Tree",
    "ascent",
    "averaged",
    "base_value",
    "batch_norm_statistics",
    "build",
    "climbed",
    "climbing",
    "default_schedules",
    "functional_call",
    "group_state",
    "has_batch_norm",
    "hyper_name",
    "hypers_of",
    "is_averaging",
    "load_group_state",
    "load_named_state",
    "lookahead",
    "lookahead_",
    "named_groups",
    "named_state",
    "needs_closure",
    "parameter_groups",
    "point_average",
    "register",
    "rule_of",
    "spectral_vectors",
    "step_of",
    "writers",
]
