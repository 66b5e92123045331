"""The graph of a recipe's training step: recorded, timed operation by operation, compiled, timed kernel by kernel.

Nothing is trained and no run is touched: steps are measured on copies.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import fx

from shoal import rng
from shoal.assembly.build import Workshop
from shoal.assembly.devices import determinism, gradients
from shoal.assembly.heap import keep_heap
from shoal.errors import InputError
from shoal.pages.step_graph import FORMAT
from shoal.training.compiled import NotCompilableError
from shoal.training.execution import recorded_seconds, step_seconds
from shoal.training.kernels import kernels, observed
from shoal.training.precision import matmul_precision
from shoal.training.trial import NotRecordableError, double


def step_graph(workshop: Workshop, *, compiling: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the graph of a step as plain data; raises InputError where the step cannot be recorded.

    Without `compiling` there are no kernels; nor are there where inductor cannot compile, and `not_compiled` says why.
    """
    keep_heap()
    recipe = workshop.recipe
    with rng.preserved(), gradients(), determinism(recipe.deterministic):
        workshop.check()
        with matmul_precision(recipe.precision):
            before = _before(workshop, say)
            after = _after(workshop, say) if compiling else _none("--no-compile leaves them out")
    seconds = {"eager": before.pop("eager"), "captured": before.pop("captured"), "compiled": after.pop("seconds")}
    return {
        "format": FORMAT,
        "name": recipe.name,
        "batch": workshop.batch_size,
        "precision": recipe.precision,
        "device": str(workshop.device),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "seconds": seconds,
        **before,
        **after,
    }


def _before(workshop: Workshop, say: Callable[[str], None]) -> dict[str, Any]:
    """The recording, and what its operations take, one by one and together."""
    stepping = workshop.stepping
    say("recording a step and measuring its operations")
    try:
        captured = stepping.recorded("captured")
    except NotRecordableError as reason:
        raise InputError(
            f"the step cannot be recorded: {reason}. It trains eagerly, and there is no graph of it to show."
        ) from reason
    eager = step_seconds(stepping.eager(double(workshop.model)), stepping.trial().batches, workshop.device)
    program = captured.operations()
    return {
        "eager": eager,
        "captured": recorded_seconds(captured),
        "operations": len(program),
        "replayed": sum(operation.replayed for operation in program),
        "inputs": [{"name": name, **asdict(given)} for name, given in captured.inputs().items()],
        "program": [asdict(operation) for operation in program],
    }


def _after(workshop: Workshop, say: Callable[[str], None]) -> dict[str, Any]:
    """The kernels of the compiled step, where it can be compiled."""
    say("compiling the step, which takes from seconds to minutes; --no-compile leaves that out")
    try:
        with observed() as sources:
            step = workshop.stepping.recorded("compiled")
    except (NotCompilableError, NotRecordableError) as reason:
        return _none(str(reason))
    found = kernels(step.rehearsal(), sources, workshop.device)
    return {
        "seconds": recorded_seconds(step),
        "compile_seconds": step.compile_seconds,
        "not_compiled": None,
        "to_fuse": _size(step.graph),
        "kernels": sum(kernel.generated for kernel in found),
        "library_calls": round(sum(kernel.calls or 0.0 for kernel in found if not kernel.generated)),
        "compiled": [asdict(kernel) for kernel in found],
    }


def _none(reason: str) -> dict[str, Any]:
    names = ("seconds", "compile_seconds", "to_fuse", "kernels", "library_calls", "compiled")
    return {**dict.fromkeys(names), "not_compiled": reason}


def _size(graph: fx.GraphModule) -> int:
    nodes = graph.graph.nodes
    return sum(node.op == "call_function" and node.target is not operator.getitem for node in nodes)
