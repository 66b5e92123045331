"""L-BFGS: torch's class, for full batches. It has no rule: how often it evaluates the loss depends on values."""

from __future__ import annotations

from typing import Any

import torch

from shoal.errors import RecipeError
from shoal.recipe.optimizer_parts import Lbfgs

Groups = list[dict[str, Any]]


def build(part: Lbfgs, groups: Groups) -> torch.optim.Optimizer:
    """Return torch's class, whose `step` takes a closure that evaluates the loss and its gradients anew.

    Raises RecipeError for what would treat parameters differently: it updates all of them as one vector.
    """
    for key in ("weight_decay", "lr_multipliers", "decay_multipliers"):
        if value := getattr(part, key):
            raise RecipeError(
                f"optimizer.{key} = {value}: lbfgs updates all parameters as one vector, without {key}. "
                "Leave it out, or choose another optimizer."
            )
    return torch.optim.LBFGS(
        groups,
        lr=part.lr,
        max_iter=part.iterations,
        max_eval=part.evaluations,
        tolerance_grad=part.tolerance_grad,
        tolerance_change=part.tolerance_change,
        history_size=part.history,
        line_search_fn=None if part.line_search == "none" else part.line_search,
    )


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a step takes a closure that evaluates the loss and its gradients, several times."""
    return isinstance(optimizer, torch.optim.LBFGS)
