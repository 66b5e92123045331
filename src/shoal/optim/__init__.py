"""Optimizers: what a recipe names, built over a model's parameters, their state addressed by parameter name.

Each has two forms: a torch.optim class, which serves eager execution, and a rule, a pure function, which serves
captured steps and stacks. Not for how hyperparameters change (that is `schedules`). To add an entry: its parameters in
`recipe.optimizer_parts`, builder and rule in the file of its family, its rows in `table`; the contract tests then run
over it.
"""

from shoal.optim.groups import NamedGroup, named_groups, parameter_groups
from shoal.optim.lbfgs import needs_closure
from shoal.optim.rule import Fused, Hyper, Rule, Tree
from shoal.optim.rule_optimizer import RuleOptimizer
from shoal.optim.schedule_free import is_averaging, point_average
from shoal.optim.state import group_state, load_group_state, load_named_state, named_state
from shoal.optim.table import BUILDERS, RULES, SYNCHRONISES, build, default_schedules, hypers_of, register, rule_of
from shoal.optim.writers import base_value, hyper_name, writers

__all__ = [
    "BUILDERS",
    "RULES",
    "SYNCHRONISES",
    "Fused",
    "Hyper",
    "NamedGroup",
    "Rule",
    "RuleOptimizer",
    "Tree",
    "base_value",
    "build",
    "default_schedules",
    "group_state",
    "hyper_name",
    "hypers_of",
    "is_averaging",
    "load_group_state",
    "load_named_state",
    "named_groups",
    "named_state",
    "needs_closure",
    "parameter_groups",
    "point_average",
    "register",
    "rule_of",
    "writers",
]
