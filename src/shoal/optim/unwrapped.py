"""torch's optimizers without what torch wraps around them for its compiler and its profiler.

To build one, and to make its first step, imports `torch._dynamo`: 4 seconds, for a decorator that only matters under
`torch.compile`. Each step then opens a record for the profiler and asks for a graph break. A loop that compiles nothing
needs none of it; what is computed is the same.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch.optim import Optimizer

from shoal.optim.rule_optimizer import RuleOptimizer

MARK = "__dynamo_disable"
"""Where torch keeps, on a function that it wraps, what its compiler made of it."""


@contextmanager
def without_compiler() -> Generator[None]:
    """Let optimizers be built, while this lasts, without the import of torch's compiler."""
    function = inspect.unwrap(Optimizer.add_param_group)
    if "torch._dynamo" in sys.modules or hasattr(function, MARK):
        yield
        return
    setattr(function, MARK, function)
    try:
        yield
    finally:
        delattr(function, MARK)


def step_of(optimizer: Optimizer) -> Callable[[], Any]:
    """Return what performs an update: the step as its class was written, for torch's own classes and rules.

    Where there are hooks on steps, and for any other class, it is the optimizer's `step` as it is.
    """
    cls = type(optimizer)
    known = isinstance(optimizer, RuleOptimizer) or cls.__module__.startswith("torch.optim.")
    if not known or "step" in vars(optimizer) or optimizer.defaults.get("differentiable"):
        return optimizer.step
    written: Callable[[Optimizer], Any] = inspect.unwrap(cls.step)
    private: Any = optimizer
    everywhere = cast(Any, sys.modules[Optimizer.__module__])
    hooks: tuple[Any, ...] = (
        private._optimizer_step_pre_hooks,
        private._optimizer_step_post_hooks,
        everywhere._global_optimizer_pre_hooks,
        everywhere._global_optimizer_post_hooks,
    )

    def step() -> None:
        if any(hooks):
            optimizer.step()
            return
        with torch.no_grad():
            written(optimizer)

    return step
