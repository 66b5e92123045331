"""Which part of a step, and which module, an operation comes from: said while a step is recorded, kept with its node.

It is for people who read a graph: nothing that is computed depends on it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import fx, nn
from torch.fx import traceback
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

PHASE, MODULE = "shoal_phase", "shoal_module"


def phase(name: str) -> AbstractContextManager[None]:
    """Let operations that are recorded in the block belong to a part of the step."""
    return traceback.annotate({PHASE: name})


def phase_of(node: fx.Node) -> str | None:
    """Return the part of the step that a node was recorded in."""
    return node.meta.get("custom", {}).get(PHASE)


def module_of(node: fx.Node) -> str | None:
    """Return the path of the module whose forward a node was recorded in, the innermost."""
    return node.meta.get("custom", {}).get(MODULE)


@contextmanager
def noted(model: nn.Module) -> Generator[None]:
    """Keep with every node that is recorded in the block where it comes from."""
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    paths = {id(module): path for path, module in modules if path}
    entered: list[tuple[int, AbstractContextManager[None]]] = []

    def enter(module: nn.Module, _: Any) -> None:
        if torch.compiler.is_dynamo_compiling():  # the branches of a `torch.cond`
            return
        if id(module) in paths:
            inside = traceback.annotate({MODULE: paths[id(module)]})
            inside.__enter__()
            entered.append((id(module), inside))

    def leave(module: nn.Module, _: Any, __: Any) -> None:
        if torch.compiler.is_dynamo_compiling():
            return
        if entered and entered[-1][0] == id(module):
            entered.pop()[1].__exit__(None, None, None)

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        with traceback.preserve_node_meta():
            try:
                yield
            finally:
                while entered:  # forwards that raised
                    entered.pop()[1].__exit__(None, None, None)
    finally:
        for hook in hooks:
            hook.remove()
